//! A WebSocket that goes through: bytes both ways between a client and the node of its session.

use std::{future::Future, pin::pin, time::Duration};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, split},
    time::timeout,
};

/// How long both sides may take to change over.
const CHANGE_OVER: Duration = Duration::from_secs(10);

/// How long one direction goes on when the other has ended: for a close frame on its way.
const LINGER: Duration = Duration::from_secs(5);

/// Joins two connections as soon as both have changed over, until one of them ends, or `ended`
/// does. A side that takes nothing stops the other by the kernels' buffers: 8 KB wait here each
/// way, no more.
pub(super) async fn run(client: OnUpgrade, node: OnUpgrade, ended: impl Future<Output = ()>) {
    let mut ended = pin!(ended);
    let both = tokio::select! {
        both = timeout(CHANGE_OVER, async { tokio::try_join!(client, node) }) => both,
        () = ended.as_mut() => return,
    };
    // Whoever broke off meanwhile tries again.
    let Ok(Ok((client, node))) = both else { return };
    let (from_client, to_client) = split(TokioIo::new(client));
    let (from_node, to_node) = split(TokioIo::new(node));
    let (mut up, mut down) = (pin!(pass(from_client, to_node)), pin!(pass(from_node, to_client)));
    // What is left after the first end or at the limit ends by the drop of both connections.
    tokio::select! {
        () = up.as_mut() => { let _ = timeout(LINGER, down).await; }
        () = down.as_mut() => { let _ = timeout(LINGER, up).await; }
        () = ended => {}
    }
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    // An error on one side is an end to the other.
    let _ = copy(&mut from, &mut to).await;
    let _ = to.shutdown().await;
}
