//! Members of a discovery document other than the keys.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::Value;
use url::Url;

use super::{
    KeysError, KeysErrorKind,
    json_client::{JsonClient, malformed},
    set::truncate,
};
use crate::http_client::{DynHttpClient, UrlPolicy};

/// Fetches the discovery document of an issuer, and returns the URL in one of its members.
pub(crate) async fn discover_url(
    client: &Arc<dyn DynHttpClient>,
    url_policy: UrlPolicy,
    document: &Url,
    issuer: &str,
    member: &'static str,
) -> Result<Url, KeysError> {
    // The document is read once, so it does not matter how long it is fresh.
    let client = JsonClient { client: Arc::clone(client), url_policy, fresh_for: (Duration::ZERO, Duration::MAX) };
    let response = client.get::<HashMap<String, Value>>(document, super::fetch::ACCEPT_METADATA, None).await?;
    let metadata = response.content.unwrap_or_default();
    let text = |name| metadata.get(name).and_then(Value::as_str);
    let named = text("issuer").unwrap_or_default();
    if named != issuer {
        let mismatch = format!("it names `{}`, but `{issuer}` is configured", truncate(named));
        return Err(KeysError::new(KeysErrorKind::WrongIssuer).with_source(mismatch));
    }
    let missing = || KeysError::new(KeysErrorKind::Malformed).with_source(format!("it has no `{member}`"));
    client.check_url(Url::parse(text(member).ok_or_else(missing)?).map_err(malformed)?)
}
