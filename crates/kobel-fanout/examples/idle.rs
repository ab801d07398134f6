//! What an idle connection costs: opens many WebSockets from a process of their own and prints how
//! much larger the server's process has become by each.
//!
//! ```text
//! cargo run --release -p kobel-fanout --example idle -- 5000
//! ```

use std::{
    env, io,
    net::SocketAddr,
    process::{ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use kobel_fanout::{
    Body, Config, ConnectRequest, Context, DisconnectReason, Event, Handler, ServeLimits, Server,
    SocketId, serve,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    process::Command,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// Handshakes under way at once.
const AT_ONCE: usize = 64;

/// As a browser sends them.
const HEADERS: &str = "Host: hub.example.com:8000\r\n\
    Connection: Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/140.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\nOrigin: https://hub.example.com:8000\r\nSec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

struct Everybody;

impl Handler for Everybody {
    fn connect(&self, request: ConnectRequest) {
        request.accept();
    }

    fn event(&self, _: &mut Context<'_>, _: Event) {}

    fn disconnect(&self, _: SocketId, _: &str, _: DisconnectReason) {}
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let done = match &args[..] {
        [] => measure(5000).await,
        ["client", addr, count] => match (addr.parse(), count.parse()) {
            (Ok(addr), Ok(count)) => client(addr, count).await,
            _ => Err(io::Error::other("expected an address and a number")),
        },
        [count] => match count.parse() {
            Ok(count) => measure(count).await,
            Err(_) => Err(io::Error::other(format!("not a number of connections: {count}"))),
        },
        _ => Err(io::Error::other("usage: idle [CONNECTIONS]")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("idle: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The server, and a client that it starts.
async fn measure(count: usize) -> io::Result<()> {
    let server = Server::start(Config::default(), Arc::new(Everybody))?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let cancel = CancellationToken::new();
    let to = server.clone();
    let answer = move |request, remote| {
        let server = to.clone();
        async move { server.handle(request, remote).await }
    };
    let limits = ServeLimits::default();
    let serving = tokio::spawn(serve::<_, _, Body>(listener, limits, answer, cancel.clone()));

    // What the first connections need once is not what each needs.
    let (warm, _) = held(addr, 100).await?;
    let before = resident()?;
    let (client, open) = held(addr, count).await?;
    let after = resident()?;
    let figures = server.snapshot().await;
    println!(
        "{} idle WebSockets: {} KiB before, {} KiB after, {} bytes each",
        figures.websocket,
        before / 1024,
        after / 1024,
        after.saturating_sub(before) / open.max(1),
    );

    drop((warm, client));
    cancel.cancel();
    server.shutdown(Duration::ZERO, |_| None).await;
    serving.await.map_err(io::Error::other)?
}

/// A process that holds so many connections until it is dropped.
async fn held(addr: SocketAddr, count: usize) -> io::Result<(tokio::process::Child, usize)> {
    let mut child = Command::new(env::current_exe()?)
        .args(["client", &addr.to_string(), &count.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let out = child.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
    let line = BufReader::new(out).lines().next_line().await?;
    let open = line
        .and_then(|line| line.parse().ok())
        .ok_or_else(|| io::Error::other("the client gave up; see `ulimit -n`"))?;
    Ok((child, open))
}

/// Opens connections, says how many, and holds them until its input ends.
async fn client(addr: SocketAddr, count: usize) -> io::Result<()> {
    let (mut opening, mut open) = (JoinSet::new(), Vec::with_capacity(count));
    for n in 0..count {
        if n >= AT_ONCE
            && let Some(opened) = opening.join_next().await
        {
            open.push(opened??);
        }
        opening.spawn(connect(addr));
    }
    while let Some(opened) = opening.join_next().await {
        open.push(opened??);
    }
    println!("{}", open.len());
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    Ok(())
}

/// A WebSocket session in the main namespace.
async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(addr).await?;
    let head = format!("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n{HEADERS}");
    stream.write_all(head.as_bytes()).await?;
    until(&mut stream, b"\"maxPayload\"").await?;
    // `40`, masked by zeros.
    stream.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'4', b'0']).await?;
    until(&mut stream, b"40{\"sid\"").await?;
    Ok(stream)
}

async fn until(stream: &mut TcpStream, wanted: &[u8]) -> io::Result<()> {
    let mut read = Vec::new();
    while !read.windows(wanted.len()).any(|window| window == wanted) {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Bytes of this process in memory.
fn resident() -> io::Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("no VmRSS in /proc/self/status"))
}
