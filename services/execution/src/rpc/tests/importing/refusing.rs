//! What an import refuses, and how it says so.

use super::*;

struct Judge {
    world: World,
    service: Service,
    workflow: Uuid,
}

impl Judge {
    async fn new() -> Self {
        let world = World::new().await;
        let workflow = a_loop(&world, ["a", "b", "c"]).await.workflow;
        let service = service(&world);
        Self {
            world,
            service,
            workflow,
        }
    }

    /// A case that stands between two good ones is refused for these fields, and the good ones are taken.
    async fn blames(&self, bad: ImportedExecution, want: &[&str]) {
        let shown = format!("{bad:?}");
        let good = |id: &str| case(id, vec![done("a", 1)]);
        let cases = vec![good("first"), bad, good("last")];
        let response = answer(&self.service, of(self.workflow, cases)).await;
        let [failure] = response.failures.as_slice() else {
            panic!("{shown:.300}: {response:?}");
        };
        assert_eq!(response.imported + response.unchanged, 2);
        assert_eq!(failure.position, 1);
        let error = failure.error.as_ref().unwrap();
        assert_eq!(error.reason, "INVALID_ARGUMENT", "{error:?}");
        let fields: Vec<&str> = error.fields.iter().map(|it| it.field.as_str()).collect();
        let want: Vec<String> = (want.iter())
            .map(|it| format!("executions[1].{it}"))
            .collect();
        assert_eq!(fields, want, "{shown:.300}");
    }
}

#[tokio::test]
async fn bad_cases_are_named_and_the_rest_is_taken() {
    let judge = Judge::new().await;
    let check = async |want: &[&str], change: fn(&mut ImportedExecution)| {
        let mut bad = case("bad", vec![done("a", 10)]);
        change(&mut bad);
        judge.blames(bad, want).await;
    };
    check(&["case_id"], |it| it.case_id.clear()).await;
    check(&["case_id"], |it| it.case_id = "x".repeat(201)).await;
    check(&["case_id"], |it| it.case_id = "a\u{200b}".into()).await;
    check(&["status"], |it| {
        it.set_status(pb::ExecutionStatus::Running)
    })
    .await;
    check(&["status"], |it| it.status = 99).await;
    check(&["error"], |it| it.error = "no".into()).await;
    check(&["error_code"], |it| {
        it.set_status(pb::ExecutionStatus::Failed);
        it.error_code = "x".repeat(101);
    })
    .await;
    check(&["steps[0].queued_at"], |it| it.started_at = second(11)).await;
    check(&["steps[0].completed_at"], |it| it.completed_at = second(9)).await;
    check(&["started_at"], |it| it.started_at = second(-9_999_999_999)).await;
    check(&["completed_at"], |it| {
        it.completed_at = second(9_999_999_999)
    })
    .await;
    check(&["started_at", "completed_at"], |it| it.steps.clear()).await;
    check(&["completed_at"], |it| {
        it.steps.clear();
        (it.started_at, it.completed_at) = (second(2), second(1));
    })
    .await;
    check(&["steps"], |it| {
        it.steps = vec![ImportedStep::default(); 10_001]
    })
    .await;
    check(&["input_data"], |it| {
        let deep = super::super::streams::nested(32);
        it.input_data = Some(wire::struct_from_json(&deep));
    })
    .await;
    let sql = "select business_key from execution.workflow_executions order by 1";
    let rows = judge.world.rows(sql).await;
    assert_eq!(
        json!(rows),
        json!([{"business_key": "first"}, {"business_key": "last"}])
    );
}

#[tokio::test]
async fn bad_steps_are_named() {
    let judge = Judge::new().await;
    let check = async |want: &str, change: fn(&mut ImportedStep)| {
        let mut step = done("a", 10);
        change(&mut step);
        let bad = case("bad", vec![done("b", 1), step]);
        judge.blames(bad, &[&format!("steps[1].{want}")]).await;
    };
    check("step", |it| it.step = "d".into()).await;
    check("step", |it| it.step.clear()).await;
    check("completed_at", |it| it.completed_at = None).await;
    check("completed_at", |it| it.completed_at = second(9_999_999_999)).await;
    check("status", |it| it.set_status(pb::StepStatus::Pending)).await;
    check("queued_at", |it| {
        it.queued_at.get_or_insert_default().nanos = -1
    })
    .await;
    check("available_at", |it| {
        (it.queued_at, it.available_at) = (second(3), second(2));
    })
    .await;
    check("assigned_at", |it| {
        (it.available_at, it.assigned_at) = (second(3), second(2));
    })
    .await;
    check("completed_at", |it| it.assigned_at = second(11)).await;
    check("error", |it| it.error = "no".into()).await;
    check("error_code", |it| it.error_code = "X".into()).await;
    check("message", |it| it.message = "a\0b".into()).await;
    check("resource", |it| it.resource = "x".repeat(201)).await;
    check("attempt", |it| it.attempt = -1).await;
    check("attempt", |it| it.attempt = 2).await;
}

#[tokio::test]
async fn attempts_continue_a_failed_one() {
    let judge = Judge::new().await;
    let attempt = |status: pb::StepStatus, at: i64, attempt: i32| ImportedStep {
        status: status.into(),
        attempt,
        ..done("a", at)
    };
    let (completed, failed) = (pb::StepStatus::Completed, pb::StepStatus::Failed);
    let after_success = vec![attempt(completed, 1, 1), attempt(completed, 2, 2)];
    let leaves_one_out = vec![attempt(completed, 2, 3), attempt(failed, 1, 0)];
    let ends_before = vec![attempt(failed, 5, 1), attempt(completed, 4, 2)];
    for (steps, want) in [(after_success, 1), (leaves_one_out, 0), (ends_before, 1)] {
        let want = format!("steps[{want}].attempt");
        judge.blames(case("bad", steps), &[&want]).await;
    }
}

#[tokio::test]
async fn many_faults_are_told_in_a_short_answer() {
    let world = World::new().await;
    let it = a_loop(&world, ["a", "b", "c"]).await;
    let bad = case("bad", vec![ImportedStep::default(); 5000]);
    let response = answer(&service(&world), of(it.workflow, vec![bad])).await;
    let error = response.failures[0].error.as_ref().unwrap();
    assert_eq!(error.fields.len(), 20);
    assert!(error.message.contains("10000"), "{}", error.message);
}

#[tokio::test]
async fn requests_that_are_wrong_as_a_whole_end_the_stream() {
    let world = World::new().await;
    let it = a_loop(&world, ["a", "b", "c"]).await;
    let service = service(&world);
    let check = async |request: ImportExecutionsRequest, want: &str| {
        let good = of(it.workflow, Vec::new());
        let mut answers = answers(&service, vec![request, good]).await;
        let refused = answers.remove(0).unwrap_err();
        assert!(answers.is_empty(), "nothing follows");
        assert_eq!(refused.code(), Code::InvalidArgument, "{want}");
        let fields = refused.get_details_bad_request().unwrap().field_violations;
        let fields: Vec<&str> = fields.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(fields, [want]);
    };
    check(ImportExecutionsRequest::default(), "workflow_id").await;
    let many = of(it.workflow, vec![ImportedExecution::default(); 501]);
    check(many, "executions").await;
    let negative = ImportExecutionsRequest {
        workflow_version: -1,
        ..of(it.workflow, Vec::new())
    };
    check(negative, "workflow_version").await;
    let spelled = ImportExecutionsRequest {
        workflow_id: "W".to_owned(),
        ..of(it.workflow, Vec::new())
    };
    check(spelled, "workflow_id").await;
    let nothing = answer(&service, of(it.workflow, Vec::new())).await;
    assert_eq!(counts(&nothing), (0, 0, 0));
}
