//! The checks of an old configuration that those of a new one continue or replace.

/// The check that a new one continues, or in whose place it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin<T> {
    New,
    /// It has the same target.
    Same(T),
    /// It has another target and the same kind of effect, so the verdict counts until it has its
    /// own.
    Replaces(T),
    /// The effect differs as well, so that only the schedule says something: a check that changes
    /// weights may be down on a server that is up.
    Displaces(T),
}

/// Finds the origin of each new check. No old check is the origin of two.
pub(super) fn origins<T, N>(
    old: impl IntoIterator<Item = T>,
    new: &[N],
    is_same: impl Fn(&T, &N) -> bool,
    is_alike: impl Fn(&T, &N) -> bool,
) -> Vec<Origin<T>> {
    let mut old: Vec<Option<T>> = old.into_iter().map(Some).collect();
    let mut take = |fits: &dyn Fn(&T) -> bool| {
        let found = |it: &&mut Option<T>| it.as_ref().is_some_and(fits);
        old.iter_mut().find(found)?.take()
    };
    // Exact matches come first, so that no other check takes their origin.
    let mut origins: Vec<Origin<T>> = new
        .iter()
        .map(|new| take(&|old| is_same(old, new)).map_or(Origin::New, Origin::Same))
        .collect();
    for (origin, new) in origins.iter_mut().zip(new) {
        if matches!(origin, Origin::New)
            && let Some(old) = take(&|old| is_alike(old, new))
        {
            *origin = Origin::Replaces(old);
        }
    }
    for origin in &mut origins {
        if matches!(origin, Origin::New)
            && let Some(old) = take(&|_| true)
        {
            *origin = Origin::Displaces(old);
        }
    }
    origins
}

#[cfg(test)]
mod tests {
    use super::{Origin::*, *};

    #[test]
    fn each_old_check_is_the_origin_of_the_closest_new_one() {
        let origins = |old: &[(char, bool)], new: &[(char, bool)]| {
            origins(
                old.to_vec(),
                new,
                |old, new| old.0 == new.0,
                |old, new| old.1 == new.1,
            )
        };
        // The target, and whether it takes servers out.
        let (one, two, weighing) = (('1', true), ('2', true), ('3', false));
        let (new, new_weighing) = (('4', true), ('5', false));
        assert_eq!(origins(&[], &[new]), [New]);
        assert_eq!(
            origins(&[one, two], &[new, one]),
            [Replaces(two), Same(one)]
        );
        assert_eq!(
            origins(&[weighing, one], &[new, new_weighing]),
            [Replaces(one), Replaces(weighing)]
        );
        assert_eq!(
            origins(&[weighing], &[new, new_weighing]),
            [New, Replaces(weighing)]
        );
        assert_eq!(origins(&[weighing], &[new]), [Displaces(weighing)]);
    }
}
