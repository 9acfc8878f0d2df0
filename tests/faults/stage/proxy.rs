//! A wire that can be made bad: slow, cut, refused, or silent without an end.
//! Invariant: what goes through is passed on unchanged and in order, or not at all.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Where the wire leads.
#[derive(Debug, Clone)]
pub enum Way {
    Tcp(String),
    Unix(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct State {
    latency: Duration,
    /// New connections end at once.
    refuses: bool,
    /// Connections made before this one are cut.
    cut: u64,
    /// Connections made before this one are passed nothing any more, for ever.
    silent: u64,
    /// New connections are silent, too.
    swallows: bool,
}

pub struct Proxy {
    pub address: SocketAddr,
    state: watch::Sender<State>,
    count: watch::Receiver<u64>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub async fn to(way: Way) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (state, _) = watch::channel(State::default());
        let (counted, count) = watch::channel(0);
        let states = state.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = *counted.borrow() + 1;
                counted.send_replace(number);
                let _ = stream.set_nodelay(true);
                tokio::spawn(connect(stream, way.clone(), number, states.subscribe()));
            }
        });
        Ok(Self {
            address,
            state,
            count,
            accepting,
        })
    }

    pub fn slow(&self, latency: Duration) {
        self.state.send_modify(|state| state.latency = latency);
    }

    /// Ends every connection; new ones are welcome.
    pub fn cut(&self) {
        let next = *self.count.borrow() + 1;
        self.state.send_modify(|state| state.cut = next);
    }

    /// As if the other side's machine were gone: ends every connection and takes no other.
    pub fn refuse(&self, refuses: bool) {
        self.state.send_modify(|state| state.refuses = refuses);
        if refuses {
            self.cut();
        }
    }

    /// As if a cable were pulled: nothing passes, and nobody is told. Those that are there now stay silent
    /// for ever; new ones do as long as `swallows`.
    pub fn silence(&self, swallows: bool) {
        let next = *self.count.borrow() + 1;
        self.state.send_modify(|state| {
            state.silent = next;
            state.swallows = swallows;
        });
    }

    pub fn heal(&self) {
        self.state.send_modify(|state| {
            state.refuses = false;
            state.swallows = false;
            state.latency = Duration::ZERO;
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn connect(near: TcpStream, way: Way, number: u64, mut state: watch::Receiver<State>) {
    let now = *state.borrow();
    if now.refuses {
        return;
    }
    if now.swallows {
        let over = state.wait_for(|state| state.cut > number).await;
        return drop(over);
    }
    match way {
        Way::Tcp(address) => {
            if let Ok(far) = TcpStream::connect(address).await {
                let _ = far.set_nodelay(true);
                join(near, far, number, state).await;
            }
        }
        Way::Unix(path) => {
            if let Ok(far) = UnixStream::connect(path).await {
                join(near, far, number, state).await;
            }
        }
    }
}

/// Until either side ends, or the connection is cut.
async fn join<F: AsyncRead + AsyncWrite>(
    near: TcpStream,
    far: F,
    number: u64,
    mut state: watch::Receiver<State>,
) {
    let (near_read, near_write) = tokio::io::split(near);
    let (far_read, far_write) = tokio::io::split(far);
    let out = pass(near_read, far_write, number, state.clone());
    let back = pass(far_read, near_write, number, state.clone());
    tokio::select! {
        _ = async { tokio::join!(out, back) } => {}
        _ = state.wait_for(|state| state.cut > number) => {}
    }
}

/// Passes on what comes. Latency delays each piece and lets others follow behind it.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    number: u64,
    state: watch::Receiver<State>,
) {
    let (sender, mut pieces) = tokio::sync::mpsc::channel::<(Instant, Vec<u8>)>(64);
    let mut watched = state.clone();
    let read = async move {
        loop {
            let mut piece = vec![0; 16 * 1024];
            let Ok(size @ 1..) = from.read(&mut piece).await else {
                return;
            };
            piece.truncate(size);
            let due = Instant::now() + state.borrow().latency;
            if sender.send((due, piece)).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, piece)) = pieces.recv().await {
            tokio::time::sleep_until(due).await;
            if watched.borrow_and_update().silent > number {
                std::future::pending::<()>().await;
            }
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}
