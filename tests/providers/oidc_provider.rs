//! The npm package `oidc-provider`, a certified OpenID provider.

use serde_json::{Value, json};

use crate::script::Script;

/// The audience of access tokens that are JWTs.
pub(crate) const JWT: &str = "urn:chat:jwt";
/// The audience of access tokens that are random strings.
pub(crate) const OPAQUE: &str = "urn:chat:opaque";
/// The client that may ask about tokens: its id and its secret.
pub(crate) const RESOURCE_SERVER: (&str, &str) = ("chat", "chat-secret-chat-secret-c");

pub(crate) struct OidcProvider {
    script: Script,
    pub(crate) issuer: String,
}

impl OidcProvider {
    /// Log-out notices go to the URL.
    pub(crate) async fn start(backchannel: &str) -> Self {
        let (script, ready) = Script::start("oidc_provider.mjs", [("BACKCHANNEL", backchannel)]).await;
        Self { script, issuer: string(&ready["issuer"]) }
    }

    /// Signs in with a new browser. Returns the access token.
    pub(crate) async fn sign_in(&mut self, browser: &str, account: &str, audience: &str) -> String {
        let command = json!({"command": "sign_in", "browser": browser, "account": account, "resource": audience});
        string(&self.script.ask(command).await["access_token"])
    }

    /// Signs out with this browser. Returns once the provider has sent its notices.
    pub(crate) async fn sign_out(&mut self, browser: &str) {
        self.script.ask(json!({"command": "sign_out", "browser": browser})).await;
    }

    pub(crate) async fn revoke(&mut self, token: &str) {
        assert_eq!(self.script.ask(json!({"command": "revoke", "token": token})).await, 200);
    }

    /// An access token that is bound to a new key of the client (RFC 9449).
    pub(crate) async fn bound_token(&mut self, audience: &str) -> String {
        string(&self.script.ask(json!({"command": "bound_token", "resource": audience})).await["access_token"])
    }

    /// A proof by the newest key, for a handshake.
    pub(crate) async fn proof(&mut self, url: &str, token: &str, nonce: Option<&str>) -> String {
        string(&self.script.ask(json!({"command": "proof", "url": url, "token": token, "nonce": nonce})).await)
    }
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no string: {value}")).to_owned()
}
