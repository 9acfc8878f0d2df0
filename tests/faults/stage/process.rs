//! One service as a process of its own: this program once more, with the service's name for an argument.
//! Invariant: the process ends with us, however we end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::until;

const START: Duration = Duration::from_secs(120);

pub struct Process {
    /// `catalog`, `execution` or `reporting`.
    service: &'static str,
    /// Where it listens.
    pub address: String,
    environment: Vec<(String, String)>,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    pub fn new(
        (service, name): (&'static str, &str),
        address: String,
        environment: Vec<(String, String)>,
        folder: &Path,
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        Self {
            service,
            address,
            environment,
            log,
            child: None,
        }
    }

    /// Starts it with fail points, or with none.
    pub fn start_with(&mut self, faults: &str) -> anyhow::Result<()> {
        self.kill()?;
        let log = File::options().create(true).append(true).open(&self.log)?;
        let child = Command::new(std::env::current_exe()?)
            .arg(self.service)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("WFP_FAULTS", faults)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("the process starts")?;
        self.child = Some(child);
        Ok(())
    }

    pub fn start(&mut self) -> anyhow::Result<()> {
        self.start_with("")
    }

    pub async fn serving(&self) -> anyhow::Result<()> {
        until(self.service, START, async || Ok(self.is_serving().await)).await
    }

    /// What it says of itself; false, too, if it says nothing within two seconds.
    pub async fn is_serving(&self) -> bool {
        let asked = async {
            let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).ok()?;
            let mut health = HealthClient::new(endpoint.connect().await.ok()?);
            let answer = health.check(HealthCheckRequest::default()).await.ok()?;
            Some(answer.into_inner().status() == ServingStatus::Serving)
        };
        let answer = tokio::time::timeout(Duration::from_secs(2), asked).await;
        answer.ok().flatten().unwrap_or(false)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let child = self.child.as_ref().context("it runs")?;
        Ok(kill_process(Pid::from_child(child), signal)?)
    }

    /// `kill -9`; nothing if it does not run.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    pub fn wake(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Tells it to stop, and waits for that.
    pub async fn stop(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.ended(patience).await?.context("it did not stop")
    }

    /// How it ended by itself; none if it still runs.
    pub async fn ended(&mut self, patience: Duration) -> anyhow::Result<Option<ExitStatus>> {
        let mut status = None;
        let waited = until("the process ends", patience, async || {
            let child = self.child.as_mut().context("it was started")?;
            status = child.try_wait()?;
            Ok(status.is_some())
        });
        let _ = waited.await;
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }

    /// The most that this life of it has held in memory, in bytes.
    pub fn peak_memory(&self) -> anyhow::Result<u64> {
        let pid = self.child.as_ref().context("it runs")?.id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kibibytes: u64 = kibibytes.context("the kernel tells it")?.trim().parse()?;
        Ok(kibibytes * 1024)
    }

    /// Everything that it has said in all its lives.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
