//! The load generator on its core, as a process: what it reports, or why there is nothing.

use std::{
    env,
    process::Stdio,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::servers::{CLIENT_CORE, PORT, Running, SERVER_CORE, before_others, pinned};

/// The most that a run may take.
const PATIENCE: Duration = Duration::from_secs(240);

/// Runs it with these options more than the usual ones, and gives the report of its one phase.
pub(crate) fn load(server: &Running, options: &[String]) -> Result<Value, String> {
    let failed = |error: std::io::Error| format!("load: {error}");
    let own = env::current_exe().map_err(failed)?;
    let json = env::temp_dir().join(format!("kobel-bench-{}.json", std::process::id()));
    let mut child = pinned(CLIENT_CORE, &own)
        .args(["load", "--url", &format!("http://127.0.0.1:{PORT}"), "--stamp", "ts"])
        .args(["--server-pid", &server.pid().to_string(), "--server-core", SERVER_CORE])
        .arg("--json")
        .arg(&json)
        .args(options)
        .stdout(Stdio::null())
        .spawn()
        .map_err(failed)?;
    // It waits for a second before it connects.
    sleep(Duration::from_millis(100));
    before_others(&child);
    let begun = Instant::now();
    loop {
        match child.try_wait().map_err(failed)? {
            Some(_) => break,
            None if begun.elapsed() > PATIENCE => {
                child.kill().and_then(|()| child.wait()).map_err(failed)?;
                return Err(format!("load: not done after {} s", PATIENCE.as_secs()));
            }
            None => sleep(Duration::from_millis(50)),
        }
    }
    // Also where connections failed: the report says so.
    let text = std::fs::read(&json).map_err(|_| "load: no report, see above".to_owned())?;
    // Of a run before it, should the next one fail.
    std::fs::remove_file(&json).map_err(failed)?;
    let mut report: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    Ok(report["phases"][0].take())
}
