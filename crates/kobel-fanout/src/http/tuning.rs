//! What the kernel is told of a listener's sockets.
//!
//! The listener itself is told: on Linux its connections come with what it has (tcp(7)), which
//! saves three system calls for each.

use std::io;

use socket2::SockRef;
use tokio::net::TcpListener;

use super::ServeLimits;

/// The most bytes that the kernel holds for a client without having sent them (Linux'
/// `TCP_NOTSENT_LOWAT`), past which a socket counts as full.
///
/// By itself the kernel takes up to 4 MB for a client that does not read. It is memory that no
/// limit of ours sees, its pages cost more than the sending (a third of a core where 200 of 2,000
/// clients at 40 KB/s did not read), and what stands there is past replacing by something newer.
/// What is on its way to the client is not counted, so a long line does not become slower.
const UNSENT: u32 = 64 * 1024;

/// Sets what all connections of `listener` shall have.
///
/// # Errors
/// When the kernel refuses, which a socket that listens gives no reason to.
pub(super) fn tune(listener: &TcpListener, limits: &ServeLimits) -> io::Result<()> {
    let socket = SockRef::from(listener);
    // Small events must not wait for an acknowledgement.
    socket.set_tcp_nodelay(true)?;
    // Elsewhere than on Linux the kernel's own timeouts and buffers hold.
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(limits.stall))?;
        socket.set_tcp_notsent_lowat(UNSENT)?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (limits, UNSENT);
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{error::Error, time::Duration};

    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn connections_come_tuned() -> Result<(), Box<dyn Error>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let limits = ServeLimits { stall: Duration::from_secs(7), ..ServeLimits::default() };
        tune(&listener, &limits)?;
        let _client = TcpStream::connect(listener.local_addr()?).await?;
        let (accepted, _) = listener.accept().await?;
        let socket = SockRef::from(&accepted);
        assert!(socket.tcp_nodelay()?);
        assert_eq!(socket.tcp_user_timeout()?, Some(Duration::from_secs(7)));
        assert_eq!(socket.tcp_notsent_lowat()?, UNSENT);
        Ok(())
    }
}
