//! Connections to other nodes.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Uri, uri::Scheme};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustix::net::sockopt::set_tcp_user_timeout;
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer};
use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How long a connection may take, with name and TLS.
const LIMIT: Duration = Duration::from_secs(3);

/// Bytes that the kernel holds of what another node sent and the client has not taken. By itself it
/// would hold megabytes; what waits here is past replacing by something newer.
const RECEIVED: u32 = 256 * 1024;

/// How long sent bytes may stay without an answer from the other machine, ms.
const UNANSWERED: u32 = 30_000;

/// Makes connections. Cloned freely.
#[derive(Clone)]
pub(super) struct Connect(TlsConnector);

impl Connect {
    /// Nodes with an https URL are believed by the roots of this machine and by these.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(super) fn new(authorities: &[CertificateDer<'static>]) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for authority in authorities {
            roots.add(authority.clone())?;
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    async fn open(self, uri: Uri) -> io::Result<Link> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what);
        let encrypted = uri.scheme() == Some(&Scheme::HTTPS);
        let host = uri.host().ok_or_else(|| invalid("a node's URL has no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let mut last = io::ErrorKind::NotFound.into();
        for address in lookup_host((host, port)).await? {
            match dial(address).await {
                Ok(stream) if encrypted => {
                    let name = host.to_owned().try_into().map_err(io::Error::other)?;
                    let stream = self.0.connect(name, stream).await?;
                    return Ok(Link::Tls(TokioIo::new(Box::new(stream))));
                }
                Ok(stream) => return Ok(Link::Plain(TokioIo::new(stream))),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Before the handshake, which says it to the other side.
    socket.set_recv_buffer_size(RECEIVED)?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    set_tcp_user_timeout(&stream, UNANSWERED)?;
    Ok(stream)
}

impl tower::Service<Uri> for Connect {
    type Response = Link;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Link>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let open = self.clone().open(uri);
        Box::pin(async {
            timeout(LIMIT, open).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
        })
    }
}

/// A connection to a node.
pub(super) enum Link {
    Plain(TokioIo<TcpStream>),
    Tls(TokioIo<Box<TlsStream<TcpStream>>>),
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl Write for Link {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
