//! A transmitter of Shared Signals; see `transmitter.mjs`.

use serde_json::{Value, json};

use crate::script::Script;

pub(crate) struct TestTransmitter {
    script: Script,
    pub(crate) issuer: String,
}

impl TestTransmitter {
    pub(crate) async fn start() -> Self {
        let (script, ready) = Script::start("transmitter.mjs", []).await;
        let issuer = ready["issuer"].as_str().expect("an issuer").to_owned();
        Self { script, issuer }
    }

    pub(crate) fn keys_url(&self) -> String {
        format!("{}/jwks", self.issuer)
    }

    /// An access token of this issuer for the audience `chat`.
    pub(crate) async fn access_token(&mut self, sub: &str, sid: &str, jti: &str) -> String {
        let token = self.script.ask(json!({"command": "access_token", "sub": sub, "sid": sid, "jti": jti})).await;
        token.as_str().expect("a token").to_owned()
    }

    /// Sends an event, and returns `status` and `body` of the answer to a push.
    pub(crate) async fn emit(&mut self, event: Value) -> Value {
        self.send("emit", event).await
    }

    /// Sends the same event twice, and returns both answers.
    pub(crate) async fn emit_twice(&mut self, event: Value) -> Value {
        self.send("emit_twice", event).await
    }

    /// The events that no receiver has acknowledged (`waiting`), and what receivers have refused (`errors`).
    pub(crate) async fn state(&mut self) -> Value {
        self.send("state", json!({})).await
    }

    async fn send(&mut self, command: &str, mut arguments: Value) -> Value {
        arguments["command"] = command.into();
        self.script.ask(arguments).await
    }
}
