//! Reads the sources of the library crates and fails on a cycle between their modules.
//!
//! The modules of one parent are compared, each together with everything inside it. A module and
//! its own child modules may use each other. Tests are left out.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::Path,
};

use vrrp_lab::repository::root;

use syn::{
    Attribute, File, Ident, Item, ItemUse, UseTree,
    visit::{self, Visit},
};

const LIBRARIES: [&str; 4] = ["vrrp-proto", "vrrp-fsm", "vrrp-net", "ipvs-netlink"];

/// The names in a path, such as `crate`, `fleet`, `RouterId`.
type Names = Vec<String>;

/// What a name stands for in a module.
enum Meaning {
    Module,
    Item,
    /// A `use`, with the path that it names.
    Import(Names),
}

/// One module of a crate: a file, or a block inside one.
#[derive(Default)]
struct Module {
    names: BTreeMap<String, Meaning>,
    /// The paths whose names a `use …::*` brings in.
    globs: Vec<Names>,
    /// The paths in its code.
    uses: Vec<Names>,
}

/// The modules of a crate by their paths; the root has an empty one.
#[derive(Default)]
struct Modules(BTreeMap<Names, Module>);

/// The dependencies among the modules of one parent.
type Siblings = BTreeMap<String, BTreeSet<String>>;

impl Modules {
    fn of_crate(name: &str) -> Self {
        let source = root().join(name).join("src");
        let mut modules = Self::default();
        modules.read(&source.join("lib.rs"), &source, Vec::new());
        modules
    }

    /// Reads the module in this file; the files of its child modules are in `folder`.
    fn read(&mut self, file: &Path, folder: &Path, path: Names) {
        let text = fs::read_to_string(file).unwrap();
        let file: File = syn::parse_str(&text).unwrap();
        self.add(&file.items, folder, path);
    }

    fn add(&mut self, items: &[Item], folder: &Path, path: Names) {
        let mut module = Module::default();
        for item in items.iter().filter(|item| !is_test(attributes(item))) {
            if let Item::Mod(child) = item {
                let name = child.ident.to_string();
                let (inner, child_path) = (folder.join(&name), joined(&path, &name));
                match &child.content {
                    Some((_, items)) => self.add(items, &inner, child_path),
                    None => self.read(&folder.join(format!("{name}.rs")), &inner, child_path),
                }
                module.names.insert(name, Meaning::Module);
            } else {
                if let Some(name) = name_of(item) {
                    module.names.insert(name.to_string(), Meaning::Item);
                }
                module.visit_item(item);
            }
        }
        self.0.insert(path, module);
    }

    /// The module that has the item that a path in `module` names; `None` outside this crate.
    fn resolve(&self, module: &[String], path: &[String]) -> Option<Names> {
        self.lookup(module, path, 16)
    }

    /// Follows at most `depth` imports.
    fn lookup(&self, module: &[String], path: &[String], depth: u8) -> Option<Names> {
        let depth = depth.checked_sub(1)?;
        let mut at = module.to_vec();
        let mut is_relative = true;
        for name in path {
            match name.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => drop(at.pop()),
                name => {
                    let module = self.0.get(&at)?;
                    match module.names.get(name) {
                        Some(Meaning::Module) => at.push(name.to_owned()),
                        Some(Meaning::Item) => return Some(at),
                        Some(Meaning::Import(target)) => {
                            // An import such as `use thiserror::Error` has the same name outside.
                            at = self.lookup(&at, target, depth)?;
                        }
                        None => {
                            let name = [name.to_owned()];
                            return module
                                .globs
                                .iter()
                                .filter_map(|glob| self.lookup(&at, glob, depth))
                                .find_map(|glob| self.lookup(&glob, &name, depth))
                                // Within the crate it is an item that a macro has made.
                                .or((!is_relative).then_some(at));
                        }
                    }
                }
            }
            is_relative = false;
        }
        Some(at)
    }

    /// For each parent, the dependencies among its modules.
    fn dependencies(&self) -> BTreeMap<Names, Siblings> {
        let mut found: BTreeMap<Names, Siblings> = BTreeMap::new();
        for (user, module) in &self.0 {
            for path in &module.uses {
                let Some(used) = self.resolve(user, path) else {
                    continue;
                };
                let shared = user.iter().zip(&used).take_while(|(a, b)| a == b).count();
                if let (Some(from), Some(to)) = (user.get(shared), used.get(shared)) {
                    let siblings = found.entry(user[..shared].to_vec()).or_default();
                    siblings.entry(from.clone()).or_default().insert(to.clone());
                }
            }
        }
        found
    }
}

impl<'a> Visit<'a> for Module {
    fn visit_item(&mut self, item: &'a Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'a ItemUse) {
        self.import(&item.tree, Vec::new());
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let names = path.segments.iter().map(|part| part.ident.to_string());
        self.uses.push(names.collect());
        visit::visit_path(self, path);
    }
}

impl Module {
    fn import(&mut self, tree: &UseTree, path: Names) {
        let (name, path) = match tree {
            UseTree::Path(part) => {
                return self.import(&part.tree, joined(&path, &part.ident.to_string()));
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, path.clone());
                }
                return;
            }
            UseTree::Glob(_) => {
                self.uses.push(path.clone());
                self.globs.push(path);
                return;
            }
            UseTree::Name(part) if part.ident == "self" => (path.last().cloned(), path),
            UseTree::Name(part) => (
                Some(part.ident.to_string()),
                joined(&path, &part.ident.to_string()),
            ),
            UseTree::Rename(part) => (
                Some(part.rename.to_string()),
                joined(&path, &part.ident.to_string()),
            ),
        };
        self.uses.push(path.clone());
        if let Some(name) = name {
            self.names.entry(name).or_insert(Meaning::Import(path));
        }
    }
}

fn joined(path: &[String], name: &str) -> Names {
    [path, &[name.to_owned()]].concat()
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg")
                && attribute
                    .parse_args::<Ident>()
                    .is_ok_and(|name| name == "test" || name == "doctest"))
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name_of(item: &Item) -> Option<&Ident> {
    match item {
        Item::Const(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Macro(item) => item.ident.as_ref(),
        Item::Static(item) => Some(&item.ident),
        Item::Struct(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        Item::Union(item) => Some(&item.ident),
        _ => None,
    }
}

/// The modules on a cycle, each before the one that it uses; the first one is repeated at the end.
fn cycle(siblings: &Siblings) -> Option<Vec<String>> {
    fn search(siblings: &Siblings, path: &mut Vec<String>, done: &mut BTreeSet<String>) -> bool {
        let at = path.last().unwrap().clone();
        for next in siblings.get(&at).into_iter().flatten() {
            if let Some(first) = path.iter().position(|name| name == next) {
                path.drain(..first);
                path.push(next.clone());
                return true;
            }
            if !done.contains(next) {
                path.push(next.clone());
                if search(siblings, path, done) {
                    return true;
                }
                path.pop();
            }
        }
        done.insert(at);
        false
    }
    let mut done = BTreeSet::new();
    siblings.keys().find_map(|start| {
        let mut path = vec![start.clone()];
        (!done.contains(start) && search(siblings, &mut path, &mut done)).then_some(path)
    })
}

#[test]
fn no_library_crate_has_a_module_cycle() {
    let mut report = String::new();
    for name in LIBRARIES {
        for (parent, siblings) in Modules::of_crate(name).dependencies() {
            if let Some(cycle) = cycle(&siblings) {
                let place = joined(&[name.to_owned()], &parent.join("::")).join(" ");
                writeln!(report, "{}: {}", place.trim_end(), cycle.join(" -> ")).unwrap();
            }
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

/// The dependencies of a crate of these files: the path of each module and its text.
fn dependencies(files: &[(&str, &str)]) -> BTreeMap<Names, Siblings> {
    let mut modules = Modules::default();
    for (path, text) in files {
        let path = path.split("::").filter(|name| !name.is_empty());
        let file: File = syn::parse_str(text).unwrap();
        modules.add(
            &file.items,
            Path::new(""),
            path.map(str::to_owned).collect(),
        );
    }
    // In a real crate each `mod` item names its child.
    for path in modules.0.keys().cloned().collect::<Vec<_>>() {
        if let Some((name, parent)) = path.split_last()
            && let Some(parent) = modules.0.get_mut(parent)
        {
            parent.names.insert(name.clone(), Meaning::Module);
        }
    }
    modules.dependencies()
}

fn first_cycle(files: &[(&str, &str)]) -> Option<Vec<String>> {
    dependencies(files).values().find_map(cycle)
}

#[test]
fn a_cycle_is_found_through_re_exports_blocks_and_paths_in_code() {
    let files = [
        ("", "pub use one::First; use two::*;"),
        (
            "one",
            "pub struct First; fn f() -> super::Second { crate::two::g() }",
        ),
        (
            "two",
            "pub struct Second; pub fn g() {} mod inner { use crate::First; }",
        ),
    ];
    let expected = ["one", "two", "one"].map(str::to_owned);
    assert_eq!(first_cycle(&files), Some(expected.to_vec()));
}

#[test]
fn parents_tests_and_other_crates_are_no_cycle() {
    let files = [
        ("", "pub use one::First; pub use three::Inner;"),
        (
            "one",
            "use std::two; pub struct First; #[cfg(test)] mod tests { use crate::two::Second; }",
        ),
        (
            "two",
            "use super::First; pub struct Second; #[test] fn f() { crate::three::g() }",
        ),
        (
            "three",
            "use crate::two::Second; pub use inner::Inner; pub fn g() {}",
        ),
        (
            "three::inner",
            "pub struct Inner(super::Second); use super::g;",
        ),
    ];
    assert_eq!(first_cycle(&files), None);
}
