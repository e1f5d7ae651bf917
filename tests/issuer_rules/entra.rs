//! Microsoft Entra: many tenants, one key set.

use super::*;
use crate::support::issuer::Reply;

const TENANT: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";
const OTHER: &str = "82229342-1101-4ab6-817b-70c0747630f3";
/// A tenant that is not allowed.
const STRANGER: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

fn v2(tenant: &str) -> String {
    format!("https://login.microsoftonline.com/{tenant}/v2.0")
}

fn v1(tenant: &str) -> String {
    format!("https://sts.windows.net/{tenant}/")
}

/// What `https://login.microsoftonline.com/common` publishes, with these keys and their `issuer`.
fn common(keys: &[(Key, Option<&str>)]) -> TestIssuer {
    let issuer = TestIssuer::in_process("https://login.microsoftonline.com/common", &[]);
    let document = json!({
        "issuer": "https://login.microsoftonline.com/{tenantid}/v2.0",
        "jwks_uri": "https://login.microsoftonline.com/common/discovery/v2.0/keys",
    });
    issuer.reply("/common/v2.0/.well-known/openid-configuration", Reply::json(&document));
    let keys = keys.iter().map(|(key, issuer)| {
        let mut jwk = key.jwk();
        if let Some(issuer) = issuer {
            jwk["issuer"] = (*issuer).into();
        }
        jwk
    });
    issuer.reply("/common/discovery/v2.0/keys", Reply::json(&json!({"keys": keys.collect::<Value>()})));
    issuer
}

fn key_of(id: &str) -> Key {
    Key::new(Pair::EdTest1, id)
}

fn of_tenant(key: &Key, iss: &str, tid: &str) -> String {
    key.sign(&json!({"iss": iss, "tid": tid, "aud": "chat", "sub": "alice", "exp": EXP}))
}

fn customers() -> IssuerKeys {
    IssuerKeys::entra_tenants(|tenant| tenant == TENANT || tenant == OTHER)
}

#[tokio::test(start_paused = true)]
async fn tenants_share_one_key_set() {
    let all = key_of("all");
    let issuer = common(&[(all.clone(), Some("https://login.microsoftonline.com/{tenantid}/v2.0"))]);
    let verifier = builder().issuer_keys(customers().fetch(issuer.client())).await.unwrap();

    struct Case {
        name: &'static str,
        iss: String,
        tid: Option<&'static str>,
        expected: Result<(), Kind>,
    }
    let refused = Err(Kind::WrongIssuer);
    for Case { name, iss, tid, expected } in [
        Case { name: "a tenant", iss: v2(TENANT), tid: Some(TENANT), expected: Ok(()) },
        Case { name: "another tenant", iss: v2(OTHER), tid: Some(OTHER), expected: Ok(()) },
        Case { name: "version 1", iss: v1(TENANT), tid: Some(TENANT), expected: Ok(()) },
        Case { name: "not allowed", iss: v2(STRANGER), tid: Some(STRANGER), expected: refused },
        Case { name: "not allowed, version 1", iss: v1(STRANGER), tid: Some(STRANGER), expected: refused },
        Case { name: "`tid` of another tenant", iss: v2(TENANT), tid: Some(OTHER), expected: refused },
        Case { name: "`tid` of a stranger", iss: v2(TENANT), tid: Some(STRANGER), expected: refused },
        Case { name: "no `tid`", iss: v2(TENANT), tid: None, expected: Err(Kind::MissingClaim) },
        Case { name: "the template", iss: v2("{tenantid}"), tid: Some("{tenantid}"), expected: refused },
        Case { name: "`common`", iss: v2("common"), tid: Some(TENANT), expected: refused },
        Case { name: "upper case", iss: v2(&TENANT.to_uppercase()), tid: Some(TENANT), expected: refused },
        Case { name: "a path", iss: v2(&format!("{TENANT}/x")), tid: Some(TENANT), expected: refused },
        Case {
            name: "no version",
            iss: format!("https://login.microsoftonline.com/{TENANT}"),
            tid: Some(TENANT),
            expected: refused,
        },
        Case { name: "http", iss: v2(TENANT).replace("https", "http"), tid: Some(TENANT), expected: refused },
        Case {
            name: "another host",
            iss: v2(TENANT).replace(".com/", ".com.evil/"),
            tid: Some(TENANT),
            expected: refused,
        },
        Case {
            name: "version 1 without the slash",
            iss: v1(TENANT).trim_end_matches('/').to_owned(),
            tid: Some(TENANT),
            expected: refused,
        },
    ] {
        let mut claims = json!({"iss": iss, "aud": "chat", "sub": "alice", "exp": EXP});
        if let Some(tid) = tid {
            claims["tid"] = tid.into();
        }
        assert_eq!(outcome(&verifier, &all.sign(&claims)).await, expected, "{name}");
    }
    let no_issuer = all.sign(&json!({"tid": TENANT, "aud": "chat", "exp": EXP}));
    assert_eq!(outcome(&verifier, &no_issuer).await, Err(Kind::MissingClaim));
    assert_eq!(issuer.request_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn each_tenant_is_an_issuer_of_its_own() {
    let all = key_of("all");
    let issuer = common(&[(all.clone(), None)]);
    let verifier = builder().issuer_keys(customers().fetch(issuer.client())).await.unwrap();
    for iss in [v2(TENANT), v2(OTHER), v1(TENANT)] {
        let tid = if iss.contains(TENANT) { TENANT } else { OTHER };
        let verified = verified(&verifier, &of_tenant(&all, &iss, tid)).await.unwrap();
        assert_eq!(verified.issuer.as_deref(), Some(&*iss));
    }
    assert_eq!(known(&verifier), [("https://login.microsoftonline.com/{tenantid}/v2.0".to_owned(), true)]);
}

#[tokio::test(start_paused = true)]
async fn a_key_of_one_tenant_verifies_no_tokens_of_others() {
    let (template, fixed) = (v2("{tenantid}"), v2(OTHER));
    let (fixed_v1, foreign) = (v1(OTHER), "https://login.example/{tenantid}/v2.0");
    let keys = ["template", "absent", "fixed", "fixed-v1", "foreign"].map(key_of);
    let issuers = [Some(&*template), None, Some(&*fixed), Some(&*fixed_v1), Some(foreign)];
    let issuer = common(&keys.clone().into_iter().zip(issuers).collect::<Vec<_>>());
    let verifier = builder().issuer_keys(customers().fetch(issuer.client())).await.unwrap();
    for (id, of_tenant_too) in [("template", true), ("absent", true), ("fixed", false), ("fixed-v1", false)] {
        for iss in [v2(OTHER), v1(OTHER)] {
            assert_eq!(outcome(&verifier, &of_tenant(&key_of(id), &iss, OTHER)).await, Ok(()), "{id}: {iss}");
        }
        for iss in [v2(TENANT), v1(TENANT)] {
            let expected = if of_tenant_too { Ok(()) } else { Err(Kind::UnknownKey) };
            assert_eq!(outcome(&verifier, &of_tenant(&key_of(id), &iss, TENANT)).await, expected, "{id}: {iss}");
        }
    }
    // A token without a key id is tried with the keys of its tenant only.
    let fixed_only = common(&[(key_of("fixed"), Some(&fixed))]);
    let verifier_fixed = builder().issuer_keys(customers().fetch(fixed_only.client())).await.unwrap();
    let anonymous = Key::without_id(Pair::EdTest1);
    assert_eq!(outcome(&verifier_fixed, &of_tenant(&anonymous, &v2(OTHER), OTHER)).await, Ok(()));
    assert!(outcome(&verifier_fixed, &of_tenant(&anonymous, &v2(TENANT), TENANT)).await.is_err());

    let status = &verifier.status()[0];
    assert_eq!(status.unusable()[0].key_id(), Some("foreign"), "an issuer that is not of Entra");
    assert_eq!(issuer.request_count(), 2, "no token caused a fetch");
}

#[tokio::test(start_paused = true)]
async fn any_tenant_can_be_allowed_by_name() {
    let all = key_of("all");
    let issuer = common(&[(all.clone(), None)]);
    let verifier = builder().issuer_keys(IssuerKeys::insecure_entra_any_tenant().fetch(issuer.client())).await.unwrap();
    assert_eq!(outcome(&verifier, &of_tenant(&all, &v2(STRANGER), STRANGER)).await, Ok(()));
    assert_eq!(outcome(&verifier, &of_tenant(&all, &v2(STRANGER), TENANT)).await, Err(Kind::WrongIssuer));
    assert_eq!(
        outcome(&verifier, &of_tenant(&all, "https://login.microsoftonline.com/x/v2.0", "x")).await,
        Err(Kind::WrongIssuer)
    );
}

#[tokio::test(start_paused = true)]
async fn a_tenant_with_keys_of_its_own_keeps_them() {
    let (all, own) = (key_of("all"), Key::new(Pair::EdTest2, "own"));
    let issuer = common(&[(all.clone(), None)]);
    let single = TestIssuer::in_process("https://own.example", std::slice::from_ref(&own));
    let single = IssuerKeys::jwks_url(v2(TENANT), single.url(KEYS)).fetch(single.client());
    let verifier = builder().issuer_keys(single).issuer_keys(customers().fetch(issuer.client())).await.unwrap();
    assert_eq!(outcome(&verifier, &of_tenant(&own, &v2(TENANT), TENANT)).await, Ok(()));
    assert_eq!(outcome(&verifier, &of_tenant(&all, &v2(TENANT), TENANT)).await, Err(Kind::UnknownKey));
    assert_eq!(outcome(&verifier, &of_tenant(&all, &v2(OTHER), OTHER)).await, Ok(()));
}
