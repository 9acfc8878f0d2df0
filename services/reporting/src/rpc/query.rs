//! QueryReports: figures in rows. Invariant: all of one answer is read in one state of the database.

mod view;

use std::pin::pin;

use chassis::input::Input;
use chassis::{Error, Result, db};
use chrono::{DateTime, Months, Utc};
use chrono_tz::Tz;
use model::wire::timestamp;
use prost::Message;
use prost_types::Timestamp;
use proto::reporting::v1 as pb;
use proto::reporting::v1::comparison::With;
use sqlx::{PgConnection, PgPool};
use tokio_stream::StreamExt;
use uuid::Uuid;

use super::reports::day;
use crate::names::Names;
use crate::query::{Dimension, MOST_ROWS, Question, Side, Table, TooMany};
use crate::store;
use crate::store::figures::Sum;
use crate::store::query::Selection;

/// Of each list of a request.
const MOST_LISTED: usize = 100;
const MOST_DIMENSIONS: usize = 3;
const MOST_YEARS: u32 = 10;
/// Of a name in an error.
const SHOWN: usize = 50;
/// Clients accept messages of 4 MiB.
const MOST_BYTES: usize = 4 * 1024 * 1024 - 1024;

pub async fn answer(
    pool: &PgPool,
    names: &Names,
    request: &pb::QueryReportsRequest,
) -> Result<pb::QueryReportsResponse> {
    let question = parse(request)?;
    let (table, complete_through) = read(pool, &question).await?;
    let rows = table.finish();
    let names = names.of(view::named(&rows, &question)).await;
    let response = pb::QueryReportsResponse {
        rows: view::rows(&question, &rows, &names),
        complete_through: complete_through.map(timestamp),
    };
    match response.encoded_len() > MOST_BYTES {
        true => Err(too_many("the rows take more than 4 MiB".to_owned())),
        false => Ok(response),
    }
}

async fn read<'q>(
    pool: &PgPool,
    question: &'q Question,
) -> Result<(Table<'q>, Option<DateTime<Utc>>)> {
    let mut table = Table::new(question);
    let mut conn = db::listing(pool).await?;
    let complete_through = store::watermark::read(&mut conn).await?;
    let own = &question.side;
    add(&mut conn, question, own, |sum| table.add(sum)).await?;
    if let Some(other) = &question.other {
        add(&mut conn, question, other, |sum| table.add_other(sum)).await?;
    }
    conn.commit().await?;
    Ok((table, complete_through))
}

async fn add(
    conn: &mut PgConnection,
    question: &Question,
    side: &Side,
    mut take: impl FnMut(&Sum) -> Result<(), TooMany>,
) -> Result<()> {
    let selection = Selection {
        grain: question.grain(),
        first: side.first,
        end: side.end,
        workflow_ids: &question.workflow_ids,
        client_ids: &question.client_ids,
        versions: &side.versions,
        step_ids: &question.step_ids,
    };
    let mut sums = pin!(store::query::sums(conn, &selection));
    while let Some(sum) = sums.try_next().await? {
        take(&sum).map_err(|TooMany| too_many(format!("there are more than {MOST_ROWS} rows")))?;
    }
    Ok(())
}

fn too_many(what: String) -> Error {
    let how = "ask for a shorter range, longer periods, fewer workflows, or group by less";
    Error::invalid("group_by", format!("{what}; {how}"))
}

fn parse(request: &pb::QueryReportsRequest) -> Result<Question> {
    let mut input = Input::new();
    let (start, end) = (request.period_start, request.period_end);
    let range = range(&mut input, "", start.as_ref(), end.as_ref());
    let versions = versions(&mut input, &request.versions);
    let group_by = group_by(&mut input, &request.group_by);
    let side = range.map(|(first, end)| Side {
        first,
        end,
        versions,
    });
    let other = match &request.compare_to {
        Some(comparison) => compared(&mut input, comparison, side.as_ref(), &group_by),
        None => None,
    };
    let question = Question {
        zone: zone(&mut input, &request.time_zone),
        workflow_ids: ids(&mut input, "workflow_ids", &request.workflow_ids),
        client_ids: ids(&mut input, "client_ids", &request.client_ids),
        step_ids: ids(&mut input, "step_ids", &request.step_ids),
        group_by,
        side: side.unwrap_or_default(),
        other,
    };
    if let Some(fault) = question.fault() {
        input.push("group_by", fault);
    }
    let about_steps = [Dimension::Step, Dimension::Transition];
    if !request.step_ids.is_empty() && !about_steps.iter().any(|own| question.groups_by(*own)) {
        input.push("step_ids", "want STEP or TRANSITION in group_by");
    }
    input.finish()?;
    Ok(question)
}

/// The first day of a range and the first one after it.
fn range(
    input: &mut Input,
    of: &str,
    start: Option<&Timestamp>,
    end: Option<&Timestamp>,
) -> Option<(chrono::NaiveDate, chrono::NaiveDate)> {
    let [start_field, end_field] = ["period_start", "period_end"].map(|name| format!("{of}{name}"));
    for (field, instant) in [(&start_field, start), (&end_field, end)] {
        if instant.is_none() {
            input.push(field, "is required");
        }
    }
    let first = day(input, &start_field, start);
    let end = day(input, &end_field, end);
    let (first, end) = first.zip(end)?;
    if end <= first {
        input.push(end_field, "must be later than period_start");
    } else if first + Months::new(12 * MOST_YEARS) < end {
        let years = format!("must be at most {MOST_YEARS} years");
        input.push(start_field, format!("{years} before period_end"));
        input.push(end_field, format!("{years} after period_start"));
    }
    Some((first, end))
}

fn ids(input: &mut Input, field: &str, texts: &[String]) -> Vec<Uuid> {
    check_length(input, field, texts.len(), MOST_LISTED);
    let texts = texts.iter().take(MOST_LISTED).enumerate();
    texts
        .map(|(at, text)| input.uuid(&format!("{field}[{at}]"), text))
        .collect()
}

fn versions(input: &mut Input, versions: &[i32]) -> Vec<i32> {
    check_length(input, "versions", versions.len(), MOST_LISTED);
    for (at, version) in versions.iter().take(MOST_LISTED).enumerate() {
        check_version(input, &format!("versions[{at}]"), *version);
    }
    versions.iter().copied().take(MOST_LISTED).collect()
}

fn check_length(input: &mut Input, field: &str, length: usize, most: usize) {
    if length > most {
        input.push(field, format!("has more than {most} elements"));
    }
}

fn check_version(input: &mut Input, field: &str, version: i32) {
    if version < 1 {
        input.push(field, "is not a version: they begin with 1");
    }
}

fn group_by(input: &mut Input, wanted: &[i32]) -> Vec<Dimension> {
    check_length(input, "group_by", wanted.len(), MOST_DIMENSIONS);
    let mut found = Vec::new();
    for (at, number) in wanted.iter().take(MOST_DIMENSIONS).enumerate() {
        match pb::Dimension::try_from(*number).ok().and_then(dimension) {
            Some(dimension) => found.push(dimension),
            None => input.push(format!("group_by[{at}]"), "is none of Dimension"),
        }
    }
    found
}

fn dimension(told: pb::Dimension) -> Option<Dimension> {
    Some(match told {
        pb::Dimension::Unspecified => return None,
        pb::Dimension::Workflow => Dimension::Workflow,
        pb::Dimension::Version => Dimension::Version,
        pb::Dimension::Client => Dimension::Client,
        pb::Dimension::Step => Dimension::Step,
        pb::Dimension::Transition => Dimension::Transition,
        pb::Dimension::Group => Dimension::Group,
        pb::Dimension::Day => Dimension::Day,
        pb::Dimension::Week => Dimension::Week,
        pb::Dimension::Month => Dimension::Month,
        pb::Dimension::Weekday => Dimension::Weekday,
        pb::Dimension::Hour => Dimension::Hour,
    })
}

fn zone(input: &mut Input, name: &str) -> Tz {
    if name.is_empty() {
        return Tz::UTC;
    }
    let unknown = |_| {
        let shown = model::text::clean(name, SHOWN);
        format!("`{shown}` is no IANA time zone, such as `Europe/Berlin`")
    };
    input
        .keep("time_zone", name.parse().map_err(unknown))
        .unwrap_or(Tz::UTC)
}

/// The side that another one is compared with.
fn compared(
    input: &mut Input,
    comparison: &pb::Comparison,
    side: Option<&Side>,
    group_by: &[Dimension],
) -> Option<Side> {
    match &comparison.with {
        None => {
            input.push("compare_to", "wants a range or a version");
            None
        }
        Some(With::Range(other)) => {
            let (start, end) = (other.period_start.as_ref(), other.period_end.as_ref());
            if start.is_none() || end.is_none() {
                input.push("compare_to.range", "wants period_start and period_end");
                return None;
            }
            let (first, end) = range(input, "compare_to.range.", start, end)?;
            let versions = side?.versions.clone();
            Some(Side {
                first,
                end,
                versions,
            })
        }
        Some(With::Version(version)) => {
            check_version(input, "compare_to.version", *version);
            if group_by.contains(&Dimension::Version) {
                let wrong = "cannot have VERSION while versions are compared";
                input.push("group_by", wrong);
            }
            if side.is_some_and(|side| side.versions.is_empty()) {
                let wrong = "are required while versions are compared: those that compare_to.version is not";
                input.push("versions", wrong);
            }
            Some(Side {
                versions: vec![*version],
                ..side?.clone()
            })
        }
    }
}
