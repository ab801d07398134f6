//! What the load generator itself can take: a server in a process of its own writes events of 300
//! bytes to some connections as fast as they are read. Pin the two to different cores to see what
//! one core can do:
//!
//! ```text
//! taskset -c 1 cargo run --release -p kobel-load --example capacity -- 200 16384
//! ```
//!
//! The numbers are connections, and bytes in a write: the fewer, the more calls for an event.

use std::{
    env,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, ExitCode, Stdio},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Parser;
use kobel_load::LoadArgs;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    load: LoadArgs,
}

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    let done = match &args[..] {
        [serve, bytes] if serve == "serve" => self::serve(bytes),
        [connections, bytes] => measure(connections, bytes),
        [] => measure("200", "16384"),
        _ => Err(io::Error::other("usage: capacity [CONNECTIONS BYTES]")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("capacity: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(connections: &str, bytes: &str) -> io::Result<()> {
    let mut server = Command::new("taskset")
        .args(["-c", "0"])
        .arg(env::current_exe()?)
        .args(["serve", bytes])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut port = [0; 5];
    if let Some(out) = &mut server.stdout {
        out.read_exact(&mut port)?;
    }
    let url = format!("http://127.0.0.1:{}", String::from_utf8_lossy(&port).trim());
    let usual = ["load", "--url", &url, "--stamp", "ts", "--duration", "5s", "--no-ack"];
    let args = [&usual[..], &["--emit", "join", "0", "--connections", connections]].concat();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(kobel_load::run(Cli::parse_from(args).load));
    server.kill()?;
    server.wait()?;
    let phase = &report.map_err(io::Error::other)?.phases[0];
    let (rate, own) = (phase.messages_per_second, phase.own_cpu_seconds);
    println!(
        "{rate:.0} events a second with {:.0} % of a core: {:.2} µs each",
        own / phase.seconds * 100.0,
        own * 1e6 / phase.messages as f64,
    );
    Ok(())
}

fn serve(bytes: &str) -> io::Result<()> {
    let bytes: usize = bytes.parse().map_err(io::Error::other)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{:5}", listener.local_addr()?.port());
    for stream in listener.incoming() {
        let stream = stream?;
        // Ends with its client.
        thread::spawn(move || talk(stream, bytes));
    }
    Ok(())
}

fn talk(mut stream: TcpStream, bytes: usize) -> io::Result<()> {
    let mut heard = [0; 4096];
    let _ = stream.read(&mut heard)?;
    stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x0e0{\"sid\":\"cap\"}")?;
    let _ = stream.read(&mut heard)?;
    stream.write_all(b"\x81\x0240")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros());
    let text = format!("42[\"news\",{{\"ts\":{now},\"note\":\"{}\"}}]", "x".repeat(260));
    let mut frame = vec![0x81, 126];
    frame.extend((text.len() as u16).to_be_bytes());
    frame.extend(text.as_bytes());
    let chunk = frame.repeat((bytes / frame.len()).max(1));
    loop {
        stream.write_all(&chunk)?;
    }
}
