use serde_json::json;

use super::*;

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
