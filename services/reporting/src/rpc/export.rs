//! ExportReports: reports as one document, in pieces. Invariant: however long the document, no more of it is in memory
//! than its reader is about to get.

use std::pin::pin;

use chassis::filter::Filter;
use chassis::order::Run;
use chassis::{Error, Result, Shutdown, db};
use chrono::{DateTime, Utc};
use proto::reporting::v1 as pb;
use sqlx::PgPool;
use tokio_stream::StreamExt;
use uuid::Uuid;

use super::reports::{FILTER, selected};
use super::streams::{Reader, Room, Sent, open};
use crate::export::Format;
use crate::store;

/// Streams of one replica.
pub const EXPORTS: usize = 8;
/// Bytes of one message: a multiple of three, so that the chunks in base64, one after another, are the document in
/// base64.
const CHUNK: usize = 65_535;
/// Reports read at once, unless their lines take more than [`READ`] bytes.
const AT_ONCE: i64 = 500;
const READ: usize = 1024 * 1024;

type Stop = (DateTime<Utc>, Uuid);

struct Export {
    pool: PgPool,
    filter: Filter,
    format: Format,
    reader: Reader<pb::ExportReportsResponse>,
    /// What is not sent yet.
    waiting: Vec<u8>,
}

/// Begins to tell.
pub fn start(
    pool: &PgPool,
    shutdown: &Shutdown,
    room: &Room,
    request: &pb::ExportReportsRequest,
) -> Result<Sent<pb::ExportReportsResponse>> {
    let filter = Filter::parse(&request.filter, FILTER)?;
    let format = match pb::ReportFormat::try_from(request.format) {
        Ok(pb::ReportFormat::Csv) => Format::Csv,
        Ok(pb::ReportFormat::Json) => Format::Json,
        _ => return Err(Error::invalid("format", "is neither CSV nor JSON")),
    };
    let pool = pool.clone();
    let tell = move |reader| async move {
        let mut export = Export {
            pool,
            filter,
            format,
            reader,
            waiting: Vec::with_capacity(2 * CHUNK),
        };
        export.run().await
    };
    Ok(open(shutdown, room.enter()?, tell))
}

impl Export {
    async fn run(&mut self) -> Result<()> {
        self.write(&self.format.open()).await?;
        let mut after = None;
        loop {
            let (lines, stop) = db::patiently(self.read(after)).await?;
            for line in &lines {
                self.write(line).await?;
            }
            if stop.is_none() {
                break;
            }
            after = stop;
        }
        self.write(self.format.close()).await?;
        match std::mem::take(&mut self.waiting) {
            rest if rest.is_empty() => Ok(()),
            rest => self.send(rest).await,
        }
    }

    /// The next lines and the report of the last one; none if there are no more.
    async fn read(&self, after: Option<Stop>) -> Result<(Vec<String>, Option<Stop>)> {
        let mut listing = db::listing(&self.pool).await?;
        let query = selected(&self.filter, Run::Up(after), AT_ONCE);
        let (mut lines, mut bytes, mut stop) = (Vec::new(), 0, None);
        {
            let mut reports = pin!(store::reports::list(&mut listing, query));
            while bytes < READ
                && let Some(report) = reports.try_next().await?
            {
                let is_first = after.is_none() && lines.is_empty();
                let line = self.format.line(&report, is_first);
                bytes += line.len();
                lines.push(line);
                stop = Some((report.period_start, report.id));
            }
        }
        listing.commit().await?;
        Ok((lines, stop))
    }

    async fn write(&mut self, text: &str) -> Result<()> {
        self.waiting.extend_from_slice(text.as_bytes());
        while self.waiting.len() >= CHUNK {
            let rest = self.waiting.split_off(CHUNK);
            let full = std::mem::replace(&mut self.waiting, rest);
            self.send(full).await?;
        }
        Ok(())
    }

    async fn send(&self, chunk: Vec<u8>) -> Result<()> {
        self.reader.send(pb::ExportReportsResponse { chunk }).await
    }
}
