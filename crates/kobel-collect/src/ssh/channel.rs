//! Streams over the channels of a connection.

use std::io::Cursor;

use russh::{ChannelMsg, ChannelOpenFailure, Disconnect};
use tokio::{
    io::{AsyncReadExt, join, split},
    time::timeout,
};

use super::{
    connect::{Channel, STEP, SshConnection, words},
    remote::{Opening, Remote, RemoteError},
};
use crate::docker::Connection;

impl SshConnection {
    /// A session, in which nothing runs yet.
    pub(super) async fn session(&self) -> Result<Channel, RemoteError> {
        opened(self.handle.channel_open_session()).await
    }

    /// Runs a command in a session: its input and output are the stream.
    pub(super) async fn run(
        &self,
        mut channel: Channel,
        command: &str,
    ) -> Result<Connection, RemoteError> {
        channel.exec(true, command).await.map_err(|error| RemoteError::Gone(words(&error)))?;
        let prefix = timeout(STEP, began(&mut channel))
            .await
            .map_err(|_| RemoteError::Gone("no answer in 10 s".to_owned()))??;
        let stream = channel.into_stream();
        if prefix.is_empty() {
            return Ok(Box::new(stream) as Connection);
        }
        let (read, write) = split(stream);
        Ok(Box::new(join(Cursor::new(prefix).chain(read), write)) as Connection)
    }

    /// Whether the host answers.
    pub(super) async fn ping(&self) -> bool {
        self.handle.send_ping().await.is_ok() && !self.is_closed()
    }

    /// Says farewell; whatever goes over it ends.
    pub(super) async fn end(&self) {
        // One that is gone hears nothing.
        let _ = self.handle.disconnect(Disconnect::ByApplication, "", "").await;
    }
}

impl Remote for SshConnection {
    fn exec<'a>(&'a self, command: &'a str) -> Opening<'a> {
        Box::pin(async move { self.run(self.session().await?, command).await })
    }

    fn unix<'a>(&'a self, path: &'a str) -> Opening<'a> {
        Box::pin(async move {
            let channel = opened(self.handle.channel_open_direct_streamlocal(path)).await?;
            Ok(Box::new(channel.into_stream()) as Connection)
        })
    }
}

async fn opened(
    opening: impl Future<Output = Result<Channel, russh::Error>>,
) -> Result<Channel, RemoteError> {
    match timeout(STEP, opening).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(russh::Error::ChannelOpenFailure(reason))) => {
            Err(RemoteError::Refused(refusal(&reason).to_owned()))
        }
        Ok(Err(error)) => Err(RemoteError::Gone(words(&error))),
        Err(_) => Err(RemoteError::Gone("no answer in 10 s".to_owned())),
    }
}

fn refusal(reason: &ChannelOpenFailure) -> &'static str {
    match reason {
        ChannelOpenFailure::AdministrativelyProhibited => "the host's sshd does not allow it",
        ChannelOpenFailure::ConnectFailed => {
            "the host's sshd could not connect, or does not allow it"
        }
        ChannelOpenFailure::UnknownChannelType => "the host's sshd does not know how",
        ChannelOpenFailure::ResourceShortage => "the host's sshd has no more sessions for us",
        _ => "the host's sshd refused it",
    }
}

/// Waits until the command runs; gives what it said before sshd said so.
async fn began(channel: &mut Channel) -> Result<Vec<u8>, RemoteError> {
    let mut early = Vec::new();
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return Ok(early),
            Some(ChannelMsg::Data { data }) => early.extend_from_slice(&data),
            Some(ChannelMsg::Failure) => {
                return Err(RemoteError::Refused("the host's sshd runs no command for us".into()));
            }
            Some(ChannelMsg::Close | ChannelMsg::Eof) | None => {
                return Err(RemoteError::Refused("the host closed the session at once".into()));
            }
            Some(_) => {}
        }
    }
}
