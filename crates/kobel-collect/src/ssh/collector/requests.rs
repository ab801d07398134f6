//! One loop on a host: a request, its answer.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{
    framing::{Framing, FramingError},
    script::{self, Ask},
};
use crate::{
    docker::Connection,
    ssh::remote::{Remote, RemoteError},
    text::clean,
};

/// Why a loop gives no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoopError {
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// It ended, and what it said last.
    #[error("the shell there ended{0}")]
    Ended(String),
    #[error(transparent)]
    Framing(#[from] FramingError),
    #[error("no answer in {} s", .0.as_secs())]
    Silent(Duration),
}

/// A loop that runs on a host, until this is dropped.
pub(super) struct Requests {
    stream: Connection,
    framing: Framing,
    seq: u64,
    buffer: Vec<u8>,
}

impl Requests {
    pub(super) async fn open(remote: &dyn Remote, command: &str) -> Result<Self, LoopError> {
        let stream = remote.exec(command).await?;
        Ok(Self { stream, framing: Framing::default(), seq: 0, buffer: vec![0; 4 << 10] })
    }

    /// Asks, and waits for the answer. After an error the loop is of no use.
    pub(super) async fn ask(
        &mut self,
        asked: &[Ask],
        limit: Duration,
    ) -> Result<String, LoopError> {
        self.seq += 1;
        self.framing.expect(self.seq);
        let request = script::request(self.seq, asked);
        let answered = timeout(limit, async {
            let written = self.stream.write_all(request.as_bytes()).await;
            if written.is_err() || self.stream.flush().await.is_err() {
                return Err(self.ended());
            }
            loop {
                match self.stream.read(&mut self.buffer).await {
                    Ok(0) | Err(_) => return Err(self.ended()),
                    Ok(length) => {
                        if let Some(answer) = self.framing.feed(&self.buffer[..length])? {
                            return Ok(answer);
                        }
                    }
                }
            }
        });
        answered.await.unwrap_or(Err(LoopError::Silent(limit)))
    }

    /// Where a restricted shell or a forced command runs, its words say why.
    fn ended(&self) -> LoopError {
        let words = clean(&self.framing.last_words(), 200);
        LoopError::Ended(if words.is_empty() { words } else { format!(": {words:?}") })
    }
}
