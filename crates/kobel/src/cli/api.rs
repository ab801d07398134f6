//! The hub's HTTP API, for commands that ask a running hub.
#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::bare_urls,
    reason = "some of these comments are the text of --help"
)]

use std::{io, path::Path, sync::Arc, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use clap::Args;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use kobel_hub::{
    access::DeviceScope,
    store::{Store, TokenRequest},
};
use kobel_wire::{Role, Timestamp};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::open_used;
use crate::{
    config::{self, Common, ConfigError},
    serve,
};

/// How long a token holds that is made for one command.
const TOKEN: Duration = Duration::from_secs(86_400);

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(10);

/// The longest line of an answer, and the longest error.
const LINE: usize = 64 << 20;

/// Why the hub gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The address is none.
    #[error(
        "{0:?} is no hub's address: write it as http://127.0.0.1:8000 or https://kobel.example.com"
    )]
    Url(String),
    /// Nobody answers there.
    #[error("no hub answers at {0}: {1}; start it by kobel serve, or name another one by --hub")]
    Unreachable(String, io::Error),
    /// It broke off.
    #[error("the hub at {0} broke off: {1}")]
    Broken(String, String),
    /// It said no, in its words.
    #[error("the hub refused: {0}")]
    Refused(String),
    /// No token.
    #[error(
        "no hub's data is in {0}: name a hub by --hub and a token by --token (kobel token create \
         NAME, where the hub runs), or its folder by --data"
    )]
    NoToken(std::path::PathBuf),
    /// The system trusts nobody.
    #[error("{0}")]
    Tls(io::Error),
}

/// Which hub, and who asks.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// The hub [default: the one that runs on the data folder, or http://127.0.0.1:8000]
    #[arg(long, value_name = "URL", env = "KOBEL_HUB")]
    hub: Option<String>,

    /// A token of the role viewer [default: where the hub's data folder is on this machine, one that
    /// is made for this command]
    #[arg(long, value_name = "TOKEN", env = "KOBEL_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// A hub, and a token for it.
pub(super) struct Api {
    url: String,
    token: String,
    /// A token that was made for this command; revoked when it ends.
    own: Option<(Store, i64)>,
}

impl Api {
    /// Finds the hub, and makes a viewer's token where none is given.
    pub(super) async fn attach(which: &Which, common: &Common) -> Result<Self, super::CliError> {
        Self::attach_as(which, common, ("logs", Role::Viewer)).await
    }

    /// Finds the hub, and makes a token where none is given: of this role, named so and a number.
    pub(super) async fn attach_as(
        which: &Which,
        common: &Common,
        (name, role): (&str, Role),
    ) -> Result<Self, super::CliError> {
        let folder = config::data_folder_of(common);
        let here = |folder: &Path| which.hub.clone().unwrap_or_else(|| serve::link_base(folder));
        if let Some(token) = &which.token {
            let url = match (&which.hub, folder) {
                (Some(hub), _) => hub.clone(),
                (None, folder) => here(&folder?),
            };
            return Ok(Self { url, token: token.clone(), own: None });
        }
        let folder = folder.map_err(|error: ConfigError| error)?;
        let Some((store, folder)) = open_used(common).await? else {
            return Err(ApiError::NoToken(folder).into());
        };
        let now = Timestamp::now();
        let account = store.first_admin(now).await?;
        let request = TokenRequest {
            account: account.id,
            name: &format!("{name}-{}-{}", std::process::id(), now.as_millis()),
            role,
            devices: DeviceScope::All,
            lifetime: Some(TOKEN),
        };
        let made = store.create_token(&request, now).await?;
        let url = here(&folder);
        Ok(Self { url, token: made.secret, own: Some((store, made.id)) })
    }

    /// Asks for lines of JSON.
    pub(super) async fn lines(
        &self,
        path: &str,
        parameters: &[(&str, String)],
    ) -> Result<Lines, ApiError> {
        let query: String = parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect::<Vec<_>>()
            .join("&");
        let accept = "application/x-ndjson";
        self.request(Method::GET, &format!("{path}?{query}"), accept, Bytes::new()).await
    }

    /// Asks for one JSON value; `body` is JSON, or empty.
    pub(super) async fn json(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<Value, ApiError> {
        let mut answer = self.request(method, path, "application/json", body.into()).await?;
        let nothing = || ApiError::Broken(self.url.clone(), "its answer is empty".into());
        answer.next().await?.ok_or_else(nothing)
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Bytes,
    ) -> Result<Lines, ApiError> {
        let uri: Uri = self.url.parse().map_err(|_| ApiError::Url(self.url.clone()))?;
        let wrong = || ApiError::Url(self.url.clone());
        let (host, tls) = match (uri.host(), uri.scheme_str()) {
            (Some(host), Some("http")) => (host, false),
            (Some(host), Some("https")) => (host, true),
            _ => return Err(wrong()),
        };
        let name = host.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let unreachable = |error| ApiError::Unreachable(self.url.clone(), error);
        let connecting = timeout(CONNECT, TcpStream::connect((name.as_str(), port)));
        let tcp = connecting.await.map_err(io::Error::from).flatten().map_err(unreachable)?;
        let base = uri.path().trim_end_matches('/');
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let request = Request::builder()
            .method(method)
            .uri(format!("{base}{path}"))
            .header(header::HOST, authority)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::ACCEPT, accept)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| ApiError::Broken(self.url.clone(), error.to_string()))?;
        if tls {
            let name = ServerName::try_from(name).map_err(|_| wrong())?;
            let connector = connector().map_err(ApiError::Tls)?;
            self.ask(connector.connect(name, tcp).await.map_err(unreachable)?, request).await
        } else {
            self.ask(tcp, request).await
        }
    }

    async fn ask<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
        request: Request<Full<Bytes>>,
    ) -> Result<Lines, ApiError> {
        let broken = |error: hyper::Error| ApiError::Broken(self.url.clone(), error.to_string());
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Ends with the answer that owns it.
        let mut running = JoinSet::new();
        running.spawn(async move {
            let _ = connection.await;
        });
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        let mut lines = Lines {
            url: self.url.clone(),
            body: answer.into_body(),
            rest: BytesMut::new(),
            _connection: running,
        };
        if status == StatusCode::OK {
            return Ok(lines);
        }
        let said = lines.next().await.ok().flatten();
        let message = said.as_ref().and_then(|said| said.pointer("/error/message")?.as_str());
        Err(ApiError::Refused(message.map_or_else(|| status.to_string(), str::to_owned)))
    }

    /// Gives the token back.
    pub(super) async fn close(self) {
        if let Some((store, number)) = self.own {
            // It ends by itself within a day, whatever becomes of this.
            let _ = store.revoke_token(&number.to_string(), Timestamp::now()).await;
            store.close().await;
        }
    }
}

/// An answer, line by line.
pub(super) struct Lines {
    url: String,
    body: Incoming,
    rest: BytesMut,
    _connection: JoinSet<()>,
}

impl Lines {
    /// The next line; `None` at the end. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<Value>, ApiError> {
        let broken = |why: String| ApiError::Broken(self.url.clone(), why);
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line = self.rest.split_to(end);
                self.rest.advance(1);
                if line.is_empty() {
                    continue;
                }
                let value = serde_json::from_slice(&line);
                return value.map(Some).map_err(|error| broken(error.to_string()));
            }
            if self.rest.len() > LINE {
                return Err(broken("a line of its answer is too long".into()));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.rest.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(broken(error.to_string())),
                None if self.rest.is_empty() => return Ok(None),
                None => self.rest.extend_from_slice(b"\n"),
            }
        }
    }
}

fn connector() -> io::Result<TlsConnector> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    if roots.add_parsable_certificates(found.certs).0 == 0 {
        return Err(io::Error::other(
            "this machine trusts no certificate authority: install ca-certificates, or name a file \
             of them by SSL_CERT_FILE",
        ));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A value of a query (RFC 3986, 2.1).
pub(super) fn encode(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
