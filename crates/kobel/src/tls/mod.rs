//! TLS on the hub's port, by rustls.
//!
//! No `Strict-Transport-Security` is sent: it holds for every port of a host (RFC 6797, section
//! 8.3), and a hub mostly shares its host's name with other things, some of which speak plain http.
//! Nor is there anything to protect: the port speaks nothing but TLS, and cookies are `Secure`. A
//! proxy that has a name of its own may send it.

mod files;
mod renewal;

use std::{io, sync::Arc, time::Duration};

use kobel_fanout::Accept;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

pub(crate) use files::{Files, TlsError};
pub(crate) use renewal::Renewal;

/// How long who speaks plain HTTP may take to hear that it is wrong here.
const PLAIN: Duration = Duration::from_secs(1);

const PLAIN_TEXT: &str = "This port speaks TLS: use https:// in place of http://\n";

/// Does the handshakes, each by the newest certificate. Cloned freely.
#[derive(Clone)]
pub(crate) struct Tls {
    /// The other end is with [`Renewal`]; should that be gone, the last one stays in use.
    config: watch::Receiver<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the files, and gives what reads them again when they change.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub(crate) fn load(files: Files) -> Result<(Self, Renewal), TlsError> {
        // Before the reading: a change that comes between the two is then seen.
        let stamp = files.stamp();
        let (renewed, config) = watch::channel(Arc::new(files.load()?));
        Ok((Self { config }, Renewal::new(files, stamp, renewed)))
    }
}

impl Accept for Tls {
    type Stream = TlsStream<TcpStream>;

    const ENCRYPTS: bool = true;

    async fn accept(&self, stream: TcpStream) -> io::Result<Self::Stream> {
        let mut first = [0];
        // A method of HTTP begins with a letter, a TLS record with its type (RFC 8446, 5.1).
        if stream.peek(&mut first).await? == 1 && first[0].is_ascii_alphabetic() {
            // Whether or not it can be told.
            let _ = timeout(PLAIN, explain(stream)).await;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "plain HTTP on a TLS port"));
        }
        let config = Arc::clone(&self.config.borrow());
        TlsAcceptor::from(config).accept(stream).await
    }
}

/// Tells who came by http:// that it is https:// here. The request is read, or the reset of the
/// unread would overtake the answer.
async fn explain(mut stream: TcpStream) -> io::Result<()> {
    let mut request = [0; 1024];
    if stream.read(&mut request).await? == 0 {
        return Ok(());
    }
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain; \
         charset=utf-8\r\ncontent-length: {}\r\n\r\n{PLAIN_TEXT}",
        PLAIN_TEXT.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    while stream.read(&mut request).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests;
