//! The workers: a thread of this process, or processes of their own where the limit of open files
//! asks for several. Both are told the same and say the same.

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command as Process, Stdio},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use crate::{
    LoadError,
    plan::{Command, Plan, Report},
    worker,
};

/// Commands under way. Full: whoever commands waits; there are a handful in a phase.
const COMMANDS: usize = 16;

/// Reports under way. Full: progress is dropped, other reports wait.
const REPORTS: usize = 64;

/// The workers of a run. Dropped: they end, and are waited for.
pub(crate) struct Team {
    members: Vec<Member>,
    reports: Receiver<(usize, Report)>,
}

enum Member {
    Thread { commands: Option<SyncSender<Command>>, threads: Vec<JoinHandle<()>> },
    Process { child: Child, input: Option<ChildStdin>, reader: Option<JoinHandle<()>> },
}

impl Team {
    /// Starts the workers.
    pub(crate) fn start(plan: &Plan) -> Result<Self, LoadError> {
        let (to, reports) = sync_channel(REPORTS);
        let mut members = Vec::new();
        for worker in 0..plan.workers {
            let plan = Plan { worker, ..plan.clone() };
            let member = if plan.workers == 1 {
                Member::thread(plan, to.clone())
            } else {
                Member::process(&plan, worker as usize, to.clone())
            };
            members.push(member.map_err(LoadError::Worker)?);
        }
        Ok(Self { members, reports })
    }

    /// Tells all.
    pub(crate) fn tell(&mut self, command: &Command) -> Result<(), LoadError> {
        self.members
            .iter_mut()
            .try_for_each(|member| member.tell(command))
            .map_err(LoadError::Worker)
    }

    /// What has been said by now, and by whom.
    pub(crate) fn heard(&self) -> impl Iterator<Item = (usize, Report)> {
        self.reports.try_iter()
    }

    /// The processes that are not this one.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let pid = |member: &Member| match member {
            Member::Process { child, .. } => Some(child.id()),
            Member::Thread { .. } => None,
        };
        self.members.iter().filter_map(pid).collect()
    }
}

impl Member {
    fn thread(plan: Plan, to: SyncSender<(usize, Report)>) -> io::Result<Self> {
        let (commands, inbox) = sync_channel(COMMANDS);
        let (outbox, reports) = sync_channel(REPORTS);
        let work = thread::Builder::new()
            .name("load".into())
            .spawn(move || worker::run(plan, &inbox, &outbox))?;
        let forward = thread::Builder::new().name("load-reports".into()).spawn(move || {
            for report in reports {
                if to.send((0, report)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self::Thread { commands: Some(commands), threads: vec![work, forward] })
    }

    fn process(plan: &Plan, number: usize, to: SyncSender<(usize, Report)>) -> io::Result<Self> {
        // The same command line, so that it works whatever the program and its subcommand are
        // called. Secrets stand in the plan, which goes over the pipe.
        let mut child = Process::new(env::current_exe()?)
            .args(env::args_os().skip(1))
            .arg("--worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let missing = || io::Error::other("a worker without pipes");
        let mut input = child.stdin.take().ok_or_else(missing)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        writeln!(input, "{}", serde_json::to_string(plan)?)?;
        let reader = thread::Builder::new().name("load-reports".into()).spawn(move || {
            for line in BufReader::new(output).lines() {
                let report = line
                    .and_then(|line| Ok(serde_json::from_str(&line)?))
                    .unwrap_or_else(|error| Report::Failed(format!("a worker's report: {error}")));
                let end = matches!(report, Report::Failed(_));
                if to.send((number, report)).is_err() || end {
                    return;
                }
            }
            // An end that nobody asked for; after the last command nobody listens.
            let _ = to.send((number, Report::Failed("a worker ended".into())));
        })?;
        Ok(Self::Process { child, input: Some(input), reader: Some(reader) })
    }

    fn tell(&mut self, command: &Command) -> io::Result<()> {
        let gone = || io::Error::other("a worker ended");
        match self {
            Self::Thread { commands, .. } => {
                let commands = commands.as_ref().ok_or_else(gone)?;
                commands.send(command.clone()).map_err(|_| gone())
            }
            Self::Process { input, .. } => {
                let input = input.as_mut().ok_or_else(gone)?;
                writeln!(input, "{}", serde_json::to_string(command)?)
            }
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        // A worker that nobody commands ends. Those that wait to report must see that nobody
        // listens.
        let (_, nobody) = sync_channel(1);
        self.reports = nobody;
        for member in &mut self.members {
            match member {
                Member::Thread { commands, .. } => drop(commands.take()),
                Member::Process { input, .. } => drop(input.take()),
            }
        }
        for member in &mut self.members {
            match member {
                Member::Thread { threads, .. } => {
                    for thread in threads.drain(..) {
                        // A panic has already been printed.
                        let _ = thread.join();
                    }
                }
                Member::Process { child, reader, .. } => {
                    let _ = child.wait();
                    if let Some(reader) = reader.take() {
                        let _ = reader.join();
                    }
                }
            }
        }
    }
}

/// Works for another process: the plan and the commands come on standard input, the reports go to
/// standard output, a line of JSON each.
pub(crate) fn work_for_another() -> Result<(), LoadError> {
    let mut line = String::new();
    let plan = match io::stdin().read_line(&mut line) {
        Ok(0) => Err(io::Error::other("--worker is not for people: a plan is expected")),
        Ok(_) => serde_json::from_str(&line).map_err(io::Error::from),
        Err(error) => Err(error),
    };
    let plan: Plan = plan.map_err(LoadError::Worker)?;
    let (commands, inbox) = sync_channel(COMMANDS);
    let (outbox, reports) = sync_channel(REPORTS);
    // Ends with standard input, which it may wait for longer than this process lives.
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            let Ok(command) = serde_json::from_str(&line) else { return };
            if commands.send(command).is_err() {
                return;
            }
        }
    });
    let work = thread::spawn(move || worker::run(plan, &inbox, &outbox));
    for report in reports {
        let mut line =
            serde_json::to_vec(&report).map_err(|error| LoadError::Worker(error.into()))?;
        line.push(b'\n');
        let mut out = io::stdout().lock();
        if out.write_all(&line).and_then(|()| out.flush()).is_err() {
            break;
        }
    }
    // A panic has already been printed.
    let _ = work.join();
    Ok(())
}
