//! Subject identifiers. The examples are those of RFC 9493, CAEP 1.0 and Keycloak.

use axum_ws_auth::{
    ScopedId,
    signals::{ResolveSubject, SubjectId},
};
use serde_json::{Value, json};

fn parse(value: &Value) -> SubjectId {
    SubjectId::from_bytes(value.to_string().as_bytes()).unwrap_or_else(|error| panic!("{value}: {error}"))
}

#[test]
fn simple_subjects_are_read_as_they_are() {
    let user = parse(&json!({"format": "iss_sub", "iss": "https://issuer.example.com/", "sub": "145234573"}));
    let SubjectId::IssSub { iss, sub } = &user else { panic!("{user:?}") };
    assert_eq!((&**iss, &**sub), ("https://issuer.example.com/", "145234573"));

    let session = parse(&json!({"format": "opaque", "id": "11112222333344445555"}));
    assert!(matches!(&session, SubjectId::Opaque { id } if &**id == "11112222333344445555"));

    let token = parse(&json!({"format": "jwt_id", "iss": "https://idp.example.com/123456789/", "jti": "B70BA622"}));
    let SubjectId::JwtId { iss, jti } = &token else { panic!("{token:?}") };
    assert_eq!((&**iss, &**jti), ("https://idp.example.com/123456789/", "B70BA622"));

    let email = parse(&json!({"format": "email", "email": "User@Example.com", "new": [1]}));
    assert!(matches!(&email, SubjectId::Email { email } if &**email == "User@Example.com"));
}

#[test]
fn other_formats_are_kept() {
    let account = parse(&json!({"format": "account", "uri": "acct:example.user@service.example.com", "n": 1}));
    let SubjectId::Other(account) = account else { panic!("{account:?}") };
    assert_eq!((account.format(), account.get("uri")), ("account", Some("acct:example.user@service.example.com")));
    assert_eq!((account.get("n"), account.get("format")), (None, None));
}

#[test]
fn complex_subjects_keep_all_their_members() {
    // CAEP 1.0, §3.1.1.
    let subject = parse(&json!({
        "format": "complex",
        "session": {"format": "opaque", "id": "dMTlD|1600802906337.16|16008.16"},
        "user": {"format": "iss_sub", "iss": "https://idp.example.com/123456789/", "sub": "99beb27c-c1c2-4955"},
        "tenant": {"format": "opaque", "id": "123456789"},
    }));
    let SubjectId::Complex(subject) = subject else { panic!("{subject:?}") };
    assert_eq!(subject.names().collect::<Vec<_>>(), ["session", "tenant", "user"]);
    assert!(matches!(subject.get("user"), Some(SubjectId::IssSub { sub, .. }) if &**sub == "99beb27c-c1c2-4955"));
    assert!(matches!(subject.get("tenant"), Some(SubjectId::Opaque { id }) if &**id == "123456789"));
    assert_eq!(subject.get("device"), None);
}

#[test]
fn malformed_extension_does_not_hide_the_user() {
    let user = json!({"format": "iss_sub", "iss": "https://id.example.com", "sub": "alice"});
    for extension in [json!("text"), json!({}), json!({"format": "complex", "user": user}), json!({"format": "email"})]
    {
        let SubjectId::Complex(subject) = parse(&json!({"format": "complex", "user": user, "x": extension})) else {
            panic!("complex")
        };
        assert_eq!(subject.get("user"), Some(&parse(&user)), "{extension}");
        assert!(matches!(subject.get("x"), Some(SubjectId::Other(_))), "{extension}: it may be critical");
    }
}

#[test]
fn anything_else_is_refused() {
    let long = "a".repeat(1025);
    let members: Value =
        (0..40).map(|n| (n.to_string(), json!(n))).chain([("format".to_owned(), json!("x"))]).collect();
    for other in [
        json!(null),
        json!("opaque"),
        json!([{"format": "opaque", "id": "1"}]),
        json!({}),
        json!({"id": "1"}),
        json!({"format": 7, "id": "1"}),
        json!({"format": ""}),
        json!({"format": "opaque"}),
        json!({"format": "opaque", "id": ""}),
        json!({"format": "opaque", "id": 1}),
        json!({"format": "opaque", "id": null}),
        json!({"format": "opaque", "id": long}),
        json!({"format": "iss_sub", "iss": "https://id.example.com"}),
        json!({"format": "iss_sub", "iss": "https://id.example.com", "sub": ""}),
        json!({"format": "jwt_id", "jti": "1"}),
        json!({"format": "email", "mail": "alice@example.com"}),
        json!({"format": "complex", "user": "alice"}),
        json!({"format": "complex", "session": {"id": "1"}}),
        json!({"format": "complex", "user": {"format": "complex", "user": {"format": "opaque", "id": "1"}}, "session": {}}),
        members,
    ] {
        assert!(SubjectId::from_bytes(other.to_string().as_bytes()).is_err(), "{other}");
    }
    let padded = format!("{}{}", json!({"format": "opaque", "id": "1"}), " ".repeat(16 * 1024));
    for other in ["", "{", "\u{feff}{}", &"[".repeat(10_000), &padded] {
        assert!(SubjectId::from_bytes(other.as_bytes()).is_err());
    }
    assert!(SubjectId::from_bytes(b"\xff").is_err());
}

#[tokio::test]
async fn closure_resolves_subjects() {
    let users = async |subject: SubjectId| match subject {
        SubjectId::Email { email } if &*email == "alice@example.com" => Ok(Some(ScopedId::without_issuer("alice"))),
        SubjectId::Email { .. } => Ok(None),
        _ => Err("the database is down".into()),
    };
    let resolve = async |email: &str| users.resolve(&parse(&json!({"format": "email", "email": email}))).await.unwrap();
    assert_eq!(resolve("alice@example.com").await, Some(ScopedId::without_issuer("alice")));
    assert_eq!(resolve("bob@example.com").await, None);
    assert!(users.resolve(&parse(&json!({"format": "opaque", "id": "1"}))).await.is_err());
}
