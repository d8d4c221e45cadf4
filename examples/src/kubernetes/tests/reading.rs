use std::{
    fmt::Write as _,
    io::{self, Read},
};

use serde_json::json;

use super::{super::read::values_within, *};

fn names(objects: &[Object]) -> Vec<String> {
    objects
        .iter()
        .map(|object| object.key().to_string())
        .collect()
}

#[test]
fn lists_documents_and_single_objects_are_read_from_yaml_and_json() {
    let service = json!({"kind": "Service", "apiVersion": "v1", "metadata": {"name": "a"}});
    let slice = json!({
        "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "addressType": "IPv4",
        "metadata": {"name": "b", "namespace": "n"}, "endpoints": null, "ports": null,
    });
    let list = json!({"kind": "List", "apiVersion": "v1", "items": [service, slice]});
    let both = ["Service default/a", "EndpointSlice n/b"];
    assert_eq!(names(&read_json(&list.to_string()).unwrap()), both);
    assert_eq!(
        names(&read_json(&format!("{service}\n{slice}")).unwrap()),
        both
    );
    assert_eq!(names(&read_yaml(&list.to_string()).unwrap()), both);
    let documents = format!("---\n{service}\n---\n{slice}\n---\n");
    assert_eq!(names(&read_yaml(&documents).unwrap()), both);
}

#[test]
fn items_of_a_typed_list_have_its_kind() {
    let text = r#"{"kind":"ServiceList","apiVersion":"v1","items":[{"metadata":{"name":"a"}}]}"#;
    assert_eq!(names(&read_json(text).unwrap()), ["Service default/a"]);
}

#[test]
fn other_kinds_are_left_out() {
    let text = "kind: Pod\napiVersion: v1\nmetadata: {name: a}\n---\n\
                kind: Service\napiVersion: serving.knative.dev/v1\nmetadata: {name: a}\n";
    assert_eq!(read_yaml(text).unwrap(), []);
}

#[test]
fn errors_name_the_object_and_the_field() {
    for (text, expected) in [
        ("[]", "kind: missing"),
        ("{kind: Service}", "metadata.name: missing"),
        (
            "{kind: Service, metadata: {name: a}, spec: {ports: [{port: 70000}]}}",
            "Service default/a: invalid value: integer `70000`, expected u16",
        ),
        (
            "{kind: Service, metadata: {name: a}, spec: {type: Other}}",
            "Service default/a: unknown variant `Other`",
        ),
        ("a: [", "not YAML: "),
    ] {
        let error = read_yaml(text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}

#[test]
fn events_of_a_watch_are_read() {
    let object = json!({"kind": "Service", "metadata": {"name": "a"}});
    let event = |kind: &str| WatchEvent::from_value(json!({"type": kind, "object": object}));
    for kind in ["ADDED", "MODIFIED"] {
        let events = event(kind).unwrap();
        assert!(
            matches!(&events[..], [WatchEvent::Put { is_event: true, .. }]),
            "{kind}"
        );
    }
    assert!(matches!(
        &event("DELETED").unwrap()[..],
        [WatchEvent::Delete(_)]
    ));
    assert_eq!(event("BOOKMARK").unwrap(), []);
    let bare = WatchEvent::from_value(object.clone()).unwrap();
    assert!(matches!(
        &bare[..],
        [WatchEvent::Put {
            is_event: false,
            ..
        }]
    ));
    let status = json!({"kind": "Status", "message": "too old resource version"});
    let error = WatchEvent::from_value(json!({"type": "ERROR", "object": status})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the API server reports an error: too old resource version"
    );
}

#[test]
fn a_change_that_makes_no_difference_is_none() {
    let mut objects = Objects::default();
    let read = |name: &str| read_yaml(&service(CLUSTER_IP).replace("web", name)).unwrap();
    let source = || String::from("a");
    let replace = |objects| Change::Replace {
        source: source(),
        objects,
    };
    assert!(objects.apply(replace(read("one"))));
    assert!(!objects.apply(replace(read("one"))));
    let put = |name| Change::Put {
        source: source(),
        object: read(name).remove(0),
    };
    assert!(!objects.apply(put("one")));
    assert!(objects.apply(put("two")));
    assert_eq!(objects.count(ObjectKind::Service), 2);
    let object = read("two")[0].key().clone();
    let delete = Change::Delete {
        source: source(),
        object,
    };
    assert!(objects.apply(delete.clone()));
    assert!(!objects.apply(delete));
    assert!(objects.apply(replace(Vec::new())));
    assert_eq!(objects.count(ObjectKind::Service), 0);
}

#[test]
fn of_one_object_in_two_sources_the_last_source_counts() {
    let mut objects = Objects::default();
    for (source, port) in [("b", "81"), ("a", "82")] {
        let text = service(CLUSTER_IP).replace("port: 80", &format!("port: {port}"));
        objects.apply(Change::Replace {
            source: source.into(),
            objects: read_yaml(&text).unwrap(),
        });
    }
    let table = translate(&objects, &node(), &Settings::default());
    assert_eq!(lines(&table), ["-A -t 10.96.0.1:81 -s rr"]);
}

#[test]
fn an_object_of_another_source_counts_once_the_last_source_loses_it() {
    let mut objects = Objects::default();
    let replace = |source: &str, port: Option<&str>| Change::Replace {
        source: source.into(),
        objects: port.map_or(Vec::new(), |port| {
            let text = service(CLUSTER_IP).replace("port: 80", &format!("port: {port}"));
            read_yaml(&text).unwrap()
        }),
    };
    assert!(objects.apply(replace("b", Some("81"))));
    // A version that does not count makes no difference, whether it comes, changes or goes.
    assert!(!objects.apply(replace("a", Some("82"))));
    assert!(!objects.apply(replace("a", Some("83"))));
    assert_eq!(objects.count(ObjectKind::Service), 1);
    assert!(objects.apply(replace("b", None)));
    let table = translate(&objects, &node(), &Settings::default());
    assert_eq!(lines(&table), ["-A -t 10.96.0.1:83 -s rr"]);
    assert!(objects.apply(replace("c", Some("84"))));
    assert!(!objects.apply(replace("a", None)));
    assert!(objects.apply(replace("c", None)));
    assert_eq!(objects.count(ObjectKind::Service), 0);
}

/// A stream whose octets arrive one by one.
struct Torn<'a>(&'a [u8]);

impl Read for Torn<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let count = room.len().min(1);
        self.0.read(&mut room[..count])
    }
}

#[test]
fn a_stream_in_pieces_has_the_events_of_the_whole() {
    let object = json!({"kind": "Service", "metadata": {"name": "ä"}});
    let added = json!({"type": "ADDED", "object": object});
    let wrong = json!({"type": "ADDED", "object": {"kind": "Service"}});
    let text = format!("{added}\n{wrong} {object}{added}[");
    let read = |stream: &mut dyn Read| -> Vec<_> {
        let events = watch_events(stream);
        events
            .map(|event| event.map_err(|error| error.to_string()))
            .collect()
    };
    let whole = read(&mut text.as_bytes());
    let is_ok: Vec<_> = whole.iter().map(Result::is_ok).collect();
    // The fault of one value does not hide those after it; a text that is not JSON is the end.
    assert_eq!(is_ok, [true, false, true, true, false]);
    assert_eq!(read(&mut Torn(text.as_bytes())), whole);
}

#[test]
fn a_value_of_a_stream_has_a_longest_length_and_the_stream_has_none() {
    let values = |text: &str, limit| -> Vec<_> {
        let values = values_within(text.as_bytes(), limit);
        values
            .map(|value| value.map_err(|error| error.to_string()))
            .collect()
    };
    let text = r#"["a"]["b"]["c"]"#;
    assert!(values(text, 6).iter().all(Result::is_ok));
    assert_eq!(values(text, 6).len(), 3);
    let long = values(r#"["a"]["bb"]"#, 5);
    assert_eq!(long.len(), 2);
    assert_eq!(long[1], Err(ReadError::TooLong.to_string()));
}

#[test]
fn aliases_cannot_make_a_small_text_large() {
    let mut text = format!("a0: &a0 {}\n", "x".repeat(1000));
    for number in 1..=12 {
        let before = format!("*a{}, ", number - 1).repeat(10);
        writeln!(text, "a{number}: &a{number} [{before}]").unwrap();
    }
    text.push_str("kind: Service\nmetadata: {name: a}\n");
    let error = read_yaml(&text).unwrap_err().to_string();
    assert!(error.starts_with("not YAML: "), "{error}");
    // A few aliases are a normal way to write.
    let text = "kind: Service\nmetadata: &m {name: a}\nspec: {selector: *m, ports: []}\n";
    assert_eq!(names(&read_yaml(text).unwrap()), ["Service default/a"]);
}

#[test]
fn large_and_deep_texts_are_read_or_refused() {
    let mut many = String::new();
    for number in 0..20_000 {
        writeln!(many, "--- {{kind: Service, metadata: {{name: s{number}}}}}").unwrap();
    }
    assert_eq!(read_yaml(&many).unwrap().len(), 20_000);
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        assert!(read_json(&deep).is_err());
        assert!(read_yaml(&deep).is_err());
    }
}

#[test]
fn one_service_cannot_ask_for_more_than_the_memory_of_a_node() {
    let list = |count: usize, item: &dyn Fn(usize) -> String| -> String {
        (0..count).map(item).collect::<Vec<_>>().join(", ")
    };
    let ports = list(100, &|port| format!("{{name: p, port: {}}}", 1 + port));
    let external = list(200, &|host| format!("10.0.0.{host}"));
    let endpoints = list(100, &|host| format!("{{addresses: [10.1.0.{host}]}}"));
    let text = service(&format!(
        "{{clusterIP: 10.96.0.1, ports: [{ports}], externalIPs: [{external}]}}"
    )) + &slice("a", &[])
        .replace("[{port: 8080, protocol: TCP}]", "[{name: p, port: 80}]")
        .replace("endpoints:\n", &format!("endpoints: [{endpoints}]\n"));
    let table = table(&text);
    // 201 addresses and 100 endpoints: 49 ports have 984,900 destinations.
    assert_eq!(table.servers().len(), 49 * 201);
    assert_eq!(table.problems().len(), 51);
    assert_eq!(
        table.problems().first().unwrap().to_string(),
        "Service default/web: port 50 is not served: with it the Service would have 1005000 \
         destinations, each address of each port counted with each endpoint, and the limit is \
         1000000; use more Services"
    );
}
