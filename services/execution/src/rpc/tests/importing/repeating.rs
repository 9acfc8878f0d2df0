//! Importing again: the same, another content, side by side; and which version is meant.

use futures_util::future::join_all;

use super::*;
use crate::definitions::Definitions;
use crate::fixtures::catalog::Stage;

fn five() -> Vec<ImportedExecution> {
    (0..5)
        .map(|n| case(&format!("case {n}"), vec![done("a", n)]))
        .collect()
}

#[tokio::test]
async fn repetition_changes_nothing_and_another_content_is_refused() {
    let world = World::new().await;
    let it = a_loop(&world, ["a", "b", "c"]).await;
    let service = service(&world);
    let first = of(it.workflow, five());
    let mut second = of(it.workflow, five());
    second.workflow_id.clear();
    second.workflow_version = 0;
    second.executions[2].steps[0].message = "differs".to_owned();
    // Twice in one request: the same, and something else.
    let new = |at| case("new", vec![done("b", at)]);
    second.executions.extend([new(1), new(1), new(2)]);
    let answers = answers(&service, vec![first, second]).await;
    let [first, second] = <[_; 2]>::try_from(answers).unwrap().map(Result::unwrap);
    assert_eq!(counts(&first), (5, 0, 0));
    assert_eq!(counts(&second), (1, 5, 2));
    assert_eq!(reasons(&second), [(2, "CASE_DIFFERS"), (7, "CASE_DIFFERS")]);
    let totals = (
        second.total_imported,
        second.total_unchanged,
        second.total_failed,
    );
    assert_eq!(totals, (6, 5, 2));
    assert_eq!(count(&world, "workflow_executions").await, 6);
    assert_eq!(count(&world, "execution_logs").await, 6);
    assert_eq!(count(&world, "outbox").await, 2);
    let texts =
        world.rows("select message from execution.execution_logs where message is not null");
    assert!(texts.await.is_empty(), "what was there is as it was");
}

#[tokio::test]
async fn same_cases_side_by_side_are_imported_once() {
    let world = World::new().await;
    let it = a_loop(&world, ["a", "b", "c"]).await;
    let service = service(&world);
    let imports = (0..4).map(|_| answer(&service, of(it.workflow, five())));
    let answers = join_all(imports).await;
    let sum = answers.iter().map(counts).fold((0, 0, 0), |sum, it| {
        (sum.0 + it.0, sum.1 + it.1, sum.2 + it.2)
    });
    assert_eq!(sum, (5, 15, 0), "{answers:?}");
    assert_eq!(count(&world, "execution_logs").await, 5);
}

#[tokio::test]
async fn latest_version_of_any_status_is_meant_unless_one_is_named() {
    let stage = Stage::new().await;
    let workflow = stage.publish(1, &[("a", "work", json!({}))]).await;
    stage.set_status(workflow, "ARCHIVED");
    let definitions = Definitions::new(stage.world.pool.clone(), stage.peer());
    let service = Service {
        definitions,
        ..service(&stage.world)
    };
    let latest = || pb::ImportExecutionsRequest {
        workflow_version: 0,
        ..of(workflow, five())
    };
    let response = answer(&service, latest()).await;
    assert_eq!(
        (counts(&response), response.workflow_version),
        ((5, 0, 0), 1)
    );
    // As if a version had been published since: the same cases are no others because of that.
    stage
        .world
        .run(
            "insert into execution.definitions (workflow_id, version, definition)
             select workflow_id, 2, definition from execution.definitions;
             update execution.workflow_executions set workflow_version = 2",
        )
        .await;
    assert_eq!(counts(&answer(&service, latest()).await), (0, 5, 0));
    let response = answer(&service, of(workflow, five())).await;
    assert_eq!(counts(&response), (0, 0, 5));
    assert_eq!(reasons(&response)[0], (0, "CASE_DIFFERS"));

    let unknown = of(Uuid::now_v7(), five());
    let unknown = pb::ImportExecutionsRequest {
        workflow_version: 0,
        ..unknown
    };
    let [refused] = <[_; 1]>::try_from(answers(&service, vec![unknown, latest()]).await).unwrap();
    assert_eq!(refused.unwrap_err().code(), Code::NotFound);
}
