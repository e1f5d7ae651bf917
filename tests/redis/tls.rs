//! TLS to Redis.

use std::{
    fs,
    io::Write,
    num::NonZeroUsize,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use ::redis::{Client, ClientTlsConfig, TlsCertificates};
use axum_ws_auth::{
    AtLimit, Redis,
    store::{Acquire, Acquired, LimitStore},
};

use crate::{
    access::{MINUTE, error_of, lease, store_one_of_each, store_works},
    redis::RedisServer,
};

/// A private certificate authority, and certificates for a server and a client.
struct Certificates(PathBuf);

impl Certificates {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("axum-ws-auth-certificates-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let this = Self(directory);
        this.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt");
        for (name, extensions) in
            [("server", "subjectAltName=IP:127.0.0.1,DNS:localhost\n"), ("client", "extendedKeyUsage=clientAuth\n")]
        {
            fs::File::create(this.path("ext")).unwrap().write_all(extensions.as_bytes()).unwrap();
            this.openssl(&format!("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"));
            this.openssl(&format!(
                "x509 -req -days 2 -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile ext -out {name}.crt"
            ));
        }
        this
    }

    fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(&self.0).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().expect("openssl is needed for this test").success(), "{arguments}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn server_with_tls(certificates: &Certificates, requires_client: bool) -> RedisServer {
    let path = |name: &str| -> &'static str {
        // Leaked, because the options are static.
        Box::leak(certificates.path(name).into_os_string().into_string().unwrap().into_boxed_str())
    };
    let requires_client = if requires_client { "yes" } else { "no" };
    RedisServer::start_with_tls([
        "--tls-cert-file",
        path("server.crt"),
        "--tls-key-file",
        path("server.key"),
        "--tls-ca-cert-file",
        path("ca.crt"),
        "--tls-auth-clients",
        requires_client,
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_requires_the_private_authority_and_the_client_certificate() {
    let certificates = Certificates::new();
    let (server, strict) = (server_with_tls(&certificates, false), server_with_tls(&certificates, true));
    let url = |server: &RedisServer| format!("rediss://localhost:{}", server.port());
    let client = |server: &RedisServer, ca: bool, own: bool| {
        let own = own.then(|| ClientTlsConfig {
            client_cert: certificates.read("client.crt"),
            client_key: certificates.read("client.key"),
        });
        let root_cert = ca.then(|| certificates.read("ca.crt"));
        Client::build_with_tls(url(server), TlsCertificates { client_tls: own, root_cert }).unwrap()
    };

    // By its URL alone, the certificate is not trusted.
    let error = error_of(&Redis::new(&url(&server)).unwrap()).await;
    assert!(error.contains("invalid peer certificate: UnknownIssuer"), "{error}");
    let error = error_of(&Redis::with_client(&client(&server, false, false)).unwrap()).await;
    assert!(error.contains("invalid peer certificate: UnknownIssuer"), "{error}");
    let plain = Redis::new(&format!("redis://localhost:{}", server.port())).unwrap();
    let error = error_of(&plain).await;
    assert!(error.contains("does it require TLS"), "{error}");

    let store = Redis::with_client(&client(&server, true, false)).unwrap();
    store_works(&store).await;
    store_one_of_each(&store).await;
    let (subscriber, lease) = (store.clone(), lease(1));
    let waiting = tokio::spawn(async move { subscriber.evicted().await.unwrap() });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let acquire = Acquire::new(&lease, NonZeroUsize::MIN, AtLimit::EvictOldest, MINUTE);
    let Acquired::Taken { evicted } = store.acquire(acquire).await.unwrap() else { panic!("a session is evicted") };
    assert_eq!(waiting.await.unwrap(), evicted);

    let error = error_of(&Redis::with_client(&client(&strict, true, false)).unwrap()).await;
    assert!(error.to_lowercase().contains("certificate"), "{error}");
    store_works(&Redis::with_client(&client(&strict, true, true)).unwrap()).await;
}
