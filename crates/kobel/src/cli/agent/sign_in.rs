//! By what the agent signs in: a token as it was given, or a key of its own.

use std::sync::Arc;

use kobel_collect::agent::{
    AgentSecret, DialError, EnrollError, EnrollmentRequest, Hub, Machine, Progress, enroll,
};
use kobel_hub::store::{ENROLLMENT_PREFIX, enrollment_number};
use tokio_util::sync::CancellationToken;

use super::{
    TokenError,
    key::{KeyFile, OwnKey},
};
use crate::{
    cli::CliError,
    config::{self, Common},
    data_folder,
};

/// By what the agent signs in.
pub(super) enum SignIn {
    /// A token of the role agent.
    Token(String),
    /// A key of its own: the one that is kept, or one that it gets by an enrollment token.
    Key { file: KeyFile, kept: Option<OwnKey>, enrollment: Option<Enrollment> },
}

/// An enrollment token.
pub(super) struct Enrollment {
    number: i64,
    token: String,
}

impl SignIn {
    /// What is given goes before what is kept, but for an enrollment token: that is for who has
    /// nothing.
    pub(super) fn choose(
        token: Option<String>,
        common: &Common,
        hub: &Hub,
        machine: &Machine,
    ) -> Result<Self, CliError> {
        let enrollment = match token {
            Some(token) if token.starts_with(ENROLLMENT_PREFIX) => {
                let number = enrollment_number(&token).ok_or(EnrollError::BadToken)?;
                Some(Enrollment { number, token })
            }
            Some(token) => return Ok(Self::Token(token)),
            None => None,
        };
        // Without a token there is a key or nothing: where there is no folder, there is no key.
        let folder = match config::data_folder_of(common) {
            Err(_) if enrollment.is_none() => return Err(TokenError::Missing.into()),
            folder => folder?,
        };
        let file = KeyFile::of(&folder, hub, &machine.instance);
        let kept = file.read()?;
        let usable = kept.as_ref().is_some_and(|key| key.token.is_some());
        if enrollment.is_none() && !usable {
            return Err(TokenError::Missing.into());
        }
        if enrollment.is_some() {
            data_folder::make(&folder)?;
        }
        Ok(Self::Key { file, kept, enrollment })
    }

    /// Reports until cancelled.
    pub(super) async fn report(
        self,
        hub: Hub,
        machine: Machine,
        cancel: CancellationToken,
    ) -> Result<(), CliError> {
        let progress = Arc::new(Progress::default());
        let (file, mut kept, enrollment) = match self {
            Self::Token(token) => return Ok(machine.run(hub, &token, progress, cancel).await?),
            Self::Key { file, kept, enrollment } => (file, kept, enrollment),
        };
        loop {
            let key = match kept.take() {
                Some(key) if key.token.is_some() => key,
                begun => {
                    let Some(by) = &enrollment else { return Err(TokenError::Missing.into()) };
                    match by.enroll(&hub, &machine, &file, begun, &cancel).await? {
                        Some(key) => key,
                        None => return Ok(()),
                    }
                }
            };
            let Some(token) = key.sign_in() else { return Err(TokenError::Missing.into()) };
            let ended =
                machine.clone().run(hub.clone(), &token, Arc::clone(&progress), cancel.clone());
            let why = match ended.await {
                Err(DialError::Unauthorized(_, why)) => why,
                ended => return Ok(ended?),
            };
            // The token that the key came by does not bring it back; another one was given since by
            // somebody who wants that.
            if enrollment.as_ref().is_none_or(|by| by.number == key.enrollment) {
                return Err(CliError::KeyRefused(hub, file.path().to_owned(), why));
            }
            tracing::warn!(why, "the hub does not take this machine's key; enrolling anew");
        }
    }
}

impl Enrollment {
    /// Gets a key, and keeps it; `begun` is one that was made and not answered for. `None` when
    /// cancelled.
    async fn enroll(
        &self,
        hub: &Hub,
        machine: &Machine,
        file: &KeyFile,
        begun: Option<OwnKey>,
        cancel: &CancellationToken,
    ) -> Result<Option<OwnKey>, CliError> {
        let mut key = match begun {
            Some(key) if key.enrollment == self.number => key,
            _ => {
                let secret = AgentSecret::generate().map_err(EnrollError::Random)?;
                OwnKey { enrollment: self.number, secret, token: None }
            }
        };
        file.write(&key)?;
        let request = EnrollmentRequest {
            instance: machine.instance.clone(),
            name: machine.name.clone(),
            tags: machine.tags.clone(),
            secret_sha256: key.secret.hash(),
        };
        let Some(answer) = enroll(hub, &self.token, &request, cancel).await? else {
            return Ok(None);
        };
        key.token = Some(answer.token_id);
        file.write(&key)?;
        tracing::info!(%hub, device = answer.name, key = %file.path().display(), "enrolled");
        Ok(Some(key))
    }
}
