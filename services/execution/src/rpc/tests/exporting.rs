//! ExportExecutions: what is exported can be read by others, and imported again.

use std::collections::BTreeMap;

use proto::execution::v1::{
    ExportExecutionsRequest, ExportFormat, ImportedExecution, ImportedStep,
};
use tonic::Status;

use super::importing::{a_loop, answer, case, done, of, second};
use super::*;
use crate::rpc::export::Exports;

const NAMES: [&str; 3] = ["Prüfen, <ob> \"es\" & 'wie' geht", "b]]>b", "c--\u{1F600}"];

/// The chunks of a document, or why there is none.
async fn chunks(
    service: &Service,
    request: &ExportExecutionsRequest,
) -> Result<Vec<Vec<u8>>, Status> {
    let stream = Exports::default().start(service, request)?;
    stream
        .map(|chunk| chunk.map(|it| it.chunk))
        .collect::<Result<_, _>>()
        .await
}

async fn exported(service: &Service, request: &ExportExecutionsRequest) -> String {
    let chunks = chunks(service, request).await.unwrap();
    assert!(
        chunks
            .iter()
            .all(|chunk| (1..=64 * 1024).contains(&chunk.len()))
    );
    String::from_utf8(chunks.concat()).unwrap()
}

fn all_of(workflow: Uuid, format: ExportFormat) -> ExportExecutionsRequest {
    ExportExecutionsRequest {
        workflow_id: workflow.to_string(),
        format: format.into(),
        ..ExportExecutionsRequest::default()
    }
}

/// The records of a CSV, as RFC 4180 has it.
fn parse_csv(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut chars = text.chars().peekable();
    let mut is_quoted = false;
    while let Some(c) = chars.next() {
        match (is_quoted, c) {
            (true, '"') if chars.peek() == Some(&'"') => field.push(chars.next().unwrap()),
            (true, '"') => is_quoted = false,
            (true, c) => field.push(c),
            (false, '"') => is_quoted = true,
            (false, ',') => record.push(std::mem::take(&mut field)),
            (false, '\r') => {
                assert_eq!(chars.next(), Some('\n'));
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            (false, c) => field.push(c),
        }
    }
    assert!(!is_quoted && field.is_empty() && record.is_empty());
    records
}

/// Rows by the names of their columns.
fn rows(csv: &str) -> Vec<BTreeMap<String, String>> {
    let mut records = parse_csv(csv).into_iter();
    let header = records.next().unwrap();
    records
        .map(|record| {
            assert_eq!(record.len(), header.len());
            header.iter().cloned().zip(record).collect()
        })
        .collect()
}

/// More cases than are read at once, among them one with everything.
fn cases() -> Vec<ImportedExecution> {
    let failed = ImportedStep {
        status: pb::StepStatus::Failed.into(),
        error_code: "A \"b\",\nc\u{fffe}<&>".to_owned(),
        assigned_at: second(12),
        resource: "Bob <b@x.org>".to_owned(),
        ..done("a", 20)
    };
    let again = ImportedStep {
        attempt: 2,
        queued_at: second(21),
        available_at: second(22),
        assigned_at: second(25),
        resource: "clerk-7, \"the\" first".to_owned(),
        ..done("a", 30)
    };
    let mut cases: Vec<_> = (0..250)
        .map(|n| {
            let steps = vec![
                done("a", 100 + n),
                done("b", 100 + 2 * n),
                done("a", 100 + 2 * n),
            ];
            case(&format!("case {n}"), steps)
        })
        .collect();
    cases.push(ImportedExecution {
        status: pb::ExecutionStatus::Failed.into(),
        started_at: second(7),
        completed_at: second(99),
        ..case("<all> & \"everything\"", vec![failed, again, done("b", 30)])
    });
    cases.push(ImportedExecution {
        status: pb::ExecutionStatus::Cancelled.into(),
        started_at: second(8),
        completed_at: second(9),
        ..case("nothing", Vec::new())
    });
    cases
}

async fn filled(world: &World) -> (Service, Uuid) {
    let it = a_loop(world, NAMES).await;
    let service = service(world);
    let response = answer(&service, of(it.workflow, cases())).await;
    assert_eq!(response.imported, 252, "{:?}", response.failures);
    (service, it.workflow)
}

#[tokio::test]
async fn xes_is_read_as_what_happened() {
    let world = World::new().await;
    let (service, workflow) = filled(&world).await;
    let text = exported(&service, &all_of(workflow, ExportFormat::Xes)).await;
    let document = roxmltree::Document::parse(&text).unwrap();
    let log = document.root_element();
    assert_eq!(
        log.tag_name().namespace(),
        Some("http://www.xes-standard.org/")
    );
    let named = |name: &'static str| {
        log.children()
            .filter(move |it| it.has_tag_name(("http://www.xes-standard.org/", name)))
    };
    assert_eq!(named("extension").count(), 4);
    assert_eq!(
        named("classifier").next().unwrap().attribute("keys"),
        Some("concept:name")
    );
    let traces: Vec<_> = named("trace").collect();
    assert_eq!(traces.len(), 252);
    let attribute = |node: &roxmltree::Node, key: &str| {
        let found = node.children().find(|it| it.attribute("key") == Some(key));
        found.map(|it| {
            (
                it.tag_name().name().to_owned(),
                it.attribute("value").unwrap().to_owned(),
            )
        })
    };
    let text = |node: &roxmltree::Node, key: &str| attribute(node, key).unwrap_or_default().1;
    // By start: the one with everything began first.
    let first = &traces[0];
    assert_eq!(text(first, "concept:name"), "<all> & \"everything\"");
    assert_eq!(text(first, "status"), "FAILED");
    assert_eq!(text(first, "started_at"), "2010-01-01T00:00:07.000000Z");
    let events: Vec<_> = first
        .children()
        .filter(|it| it.tag_name().name() == "event")
        .collect();
    let told = |event: &roxmltree::Node| {
        let keys = [
            "concept:name",
            "lifecycle:transition",
            "time:timestamp",
            "org:resource",
            "activation",
            "attempt",
        ];
        keys.map(|key| text(event, key))
            .join("|")
            .replace("2010-01-01T00:00:", "")
    };
    let told: Vec<String> = events.iter().map(told).collect();
    let want = [
        format!("{}|start|12.000000Z|Bob <b@x.org>|1|1", NAMES[0]),
        format!("{}|complete|20.000000Z|Bob <b@x.org>|1|1", NAMES[0]),
        format!("{}|start|25.000000Z|clerk-7, \"the\" first|1|2", NAMES[0]),
        format!(
            "{}|complete|30.000000Z|clerk-7, \"the\" first|1|2",
            NAMES[0]
        ),
        format!("{}|complete|30.000000Z||1|1", NAMES[1]),
    ];
    assert_eq!(told, want);
    assert_eq!(text(&events[1], "error_code"), "A \"b\",\nc\u{fffd}<&>");
    assert_eq!(text(&events[1], "status"), "FAILED");
    assert_eq!(attribute(&events[1], "time:timestamp").unwrap().0, "date");
    assert_eq!(attribute(&events[1], "activation").unwrap().0, "int");
    assert!(
        traces[1]
            .children()
            .all(|it| it.tag_name().name() != "event")
    );
}

/// What an export tells, as it would be imported.
fn read_back(csv: &str) -> Vec<ImportedExecution> {
    let instant = |text: &String| {
        let at = chrono::DateTime::parse_from_rfc3339(text).ok()?;
        Some(wire::timestamp(at.to_utc()))
    };
    let mut cases: Vec<ImportedExecution> = Vec::new();
    for row in rows(csv) {
        if cases.last().is_none_or(|it| it.case_id != row["case_id"]) {
            let status = format!("EXECUTION_STATUS_{}", row["execution_status"]);
            cases.push(ImportedExecution {
                status: pb::ExecutionStatus::from_str_name(&status).unwrap().into(),
                ..case(&row["case_id"], Vec::new())
            });
        }
        if row["step"].is_empty() {
            continue;
        }
        let status = format!("STEP_STATUS_{}", row["status"]);
        cases.last_mut().unwrap().steps.push(ImportedStep {
            step: row["step"].clone(),
            status: pb::StepStatus::from_str_name(&status).unwrap().into(),
            queued_at: instant(&row["queued_at"]),
            available_at: instant(&row["available_at"]),
            assigned_at: instant(&row["started_at"]),
            completed_at: instant(&row["completed_at"]),
            attempt: row["attempt"].parse().unwrap(),
            resource: row["resource"].clone(),
            error_code: row["error_code"].clone(),
            ..ImportedStep::default()
        });
    }
    cases
}

#[tokio::test]
async fn what_was_exported_is_imported_as_the_same() {
    let world = World::new().await;
    let (service, workflow) = filled(&world).await;
    let csv = exported(&service, &all_of(workflow, ExportFormat::Csv)).await;
    let mut again = read_back(&csv);
    assert_eq!(again.len(), 252);
    assert!(again[1].steps.is_empty());
    // What has no steps tells no instants of its own.
    (again[1].started_at, again[1].completed_at) = (second(8), second(9));
    (again[0].started_at, again[0].completed_at) = (second(7), second(99));
    let other = a_loop(&world, NAMES).await.workflow;
    let response = answer(&service, of(other, again)).await;
    assert_eq!(response.imported, 252, "{:?}", response.failures);
    let same = |csv: &str| -> Vec<BTreeMap<String, String>> {
        let mut rows = rows(csv);
        for row in &mut rows {
            for own in ["execution_id", "workflow_id", "step_id"] {
                row.remove(own).unwrap();
            }
        }
        // Executions that began together come by their ids, which are others.
        rows.sort_by_key(|row| row["case_id"].clone());
        rows
    };
    let csv_again = exported(&service, &all_of(other, ExportFormat::Csv)).await;
    assert_eq!(same(&csv_again), same(&csv));
    assert_eq!(rows(&csv).len(), 250 * 3 + 3 + 1);
}

#[tokio::test]
async fn only_what_is_asked_for_is_exported() {
    let world = World::new().await;
    let (service, workflow) = filled(&world).await;
    let ids = async |request: ExportExecutionsRequest| {
        let mut ids: Vec<String> = rows(&exported(&service, &request).await)
            .into_iter()
            .map(|row| row["case_id"].clone())
            .collect();
        ids.dedup();
        ids
    };
    let all = || all_of(workflow, ExportFormat::Csv);
    let by_status = ExportExecutionsRequest {
        statuses: vec![
            pb::ExecutionStatus::Failed.into(),
            pb::ExecutionStatus::Cancelled.into(),
        ],
        ..all()
    };
    assert_eq!(ids(by_status).await, ["<all> & \"everything\"", "nothing"]);
    let by_start = ExportExecutionsRequest {
        started_from: second(347),
        started_before: second(349),
        ..all()
    };
    assert_eq!(ids(by_start).await, ["case 247", "case 248"]);
    world
        .run("update execution.workflow_executions set simulation = true where business_key <> 'case 3'")
        .await;
    assert_eq!(ids(all()).await, ["case 3"]);

    let refused = |request: ExportExecutionsRequest| {
        let service = service.clone();
        async move { chunks(&service, &request).await.unwrap_err() }
    };
    let no_format = ExportExecutionsRequest { format: 0, ..all() };
    let no_workflow = ExportExecutionsRequest {
        workflow_id: String::new(),
        ..all()
    };
    let no_status = ExportExecutionsRequest {
        statuses: vec![3, 77],
        ..all()
    };
    for (request, want) in [
        (no_format, "format"),
        (no_workflow, "workflow_id"),
        (no_status, "statuses[1]"),
    ] {
        let status = refused(request).await;
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, want);
    }
}
