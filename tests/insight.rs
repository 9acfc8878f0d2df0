//! What the histories of executions show, asked of the running platform.

use proto::reporting::v1::{AnalyzeWorkflowRequest, AnalyzeWorkflowResponse, VariantPart};
use serde_json::json;

use crate::story::{Acts, Outcome, Story};

const FIRST: &str = r#"
client: { name: Press }
workflow: { name: Articles, status: ACTIVE }
steps:
  - { name: Draft, stepType: draft }
  - { name: Review, stepType: review }
  - { name: Print, stepType: print }
transitions:
  - { from: Draft, to: Review }
  - { from: Review, to: Draft, condition: { field: good, operator: equals, value: false } }
  - { from: Review, to: Print, isDefault: true }
"#;

/// Nobody drafts again, and nothing is printed any more.
const SECOND: &str = r#"
client: { name: Press }
workflow: { name: Articles, status: ACTIVE }
steps:
  - { name: Draft, stepType: draft }
  - { name: Review, stepType: review }
  - { name: Post, stepType: post }
transitions:
  - { from: Draft, to: Review }
  - { from: Review, to: Post, isDefault: true }
"#;

/// Does the jobs of one execution, one after another.
async fn run(story: &Story, jobs: &[(&str, bool)]) -> Outcome {
    for (job_type, good) in jobs {
        let job = story.admin.job(job_type).await?;
        story.admin.complete(&job, json!({ "good": good })).await?;
    }
    Ok(())
}

fn names(parts: &[VariantPart]) -> Vec<(Vec<&str>, bool)> {
    let parts = parts.iter().map(|part| {
        let names = part.steps.iter().map(|step| step.name.as_str());
        (names.collect(), part.repeated)
    });
    parts.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_show_loops_ways_and_what_the_new_version_lacks() -> Outcome {
    let story = Story::begin().await?;
    let workflow = story.publish(FIRST).await?;
    let straight = [("draft", true), ("review", true), ("print", true)];
    let twice = [("draft", true), ("review", false)];
    for rounds in [0, 0, 1, 2] {
        let begun = story.admin.start(&workflow, json!({})).await?;
        for _ in 0..rounds {
            run(&story, &twice).await?;
        }
        run(&story, &straight).await?;
        story.admin.finished(&begun.id).await?;
    }
    story.publish(SECOND).await?;
    let begun = story.admin.start(&workflow, json!({})).await?;
    run(&story, &[("draft", true), ("review", true), ("post", true)]).await?;
    story.admin.finished(&begun.id).await?;

    let reader = story.user("reader", &[]).await?;
    let request = AnalyzeWorkflowRequest {
        workflow_id: workflow.id.clone(),
        ..Default::default()
    };
    let answer = reader.reports.clone().analyze_workflow(request).await?;
    let AnalyzeWorkflowResponse {
        analyzed_executions,
        finished_executions,
        steps,
        variants,
        reworked_steps,
        back_moves,
        conformance,
        ..
    } = answer.into_inner();
    assert_eq!((analyzed_executions, finished_executions), (5, 5));
    let mut activations: Vec<(&str, i64)> = steps
        .iter()
        .map(|step| (step.name.as_str(), step.activations))
        .collect();
    activations.sort_unstable();
    let wanted = [("Draft", 8), ("Post", 1), ("Print", 4), ("Review", 8)];
    assert_eq!(activations, wanted);
    // Nobody has a job before a worker takes it.
    assert!(
        steps.iter().all(|step| step.total_waiting > 0.0),
        "{steps:?}"
    );
    let shares: f64 = steps.iter().filter_map(|step| step.time_share).sum();
    assert!((shares - 1.0).abs() < 0.000_01, "{steps:?}");

    let mut ways: Vec<_> = variants
        .iter()
        .map(|variant| (variant.executions, names(&variant.parts)))
        .collect();
    ways.sort_unstable();
    let once = |steps: &[&'static str]| (steps.to_vec(), false);
    let again = (vec!["Draft", "Review"], true);
    assert_eq!(
        ways,
        [
            (1, vec![once(&["Draft", "Review", "Post"])]),
            (2, vec![again, once(&["Print"])]),
            (2, vec![once(&["Draft", "Review", "Print"])]),
        ]
    );

    let mut rework: Vec<_> = reworked_steps
        .iter()
        .map(|step| (step.name.as_str(), step.executions, step.extra_activations))
        .collect();
    rework.sort_unstable();
    assert_eq!(rework, [("Draft", 2, 3), ("Review", 2, 3)]);
    let back = |from: &str, to: &str| {
        let found = (back_moves.iter()).find(|own| own.from_name == from && own.to_name == to);
        found.map(|own| (own.count, own.executions))
    };
    assert_eq!(back("Review", "Draft"), Some((3, 2)));

    let conformance = conformance.unwrap_or_default();
    let counts = (
        conformance.version,
        conformance.conforming_executions,
        conformance.deviating_executions,
    );
    assert_eq!(counts, (2, 1, 4));
    let [print] = &conformance.unknown_steps[..] else {
        anyhow::bail!("{conformance:?}");
    };
    assert_eq!((&print.name[..], print.executions), ("Print", 4));
    let moves: Vec<_> = conformance
        .unknown_moves
        .iter()
        .map(|own| {
            let way = own.r#move.clone().unwrap_or_default();
            (way.from_name, way.to_name, own.executions, own.count)
        })
        .collect();
    let way = |to: &str, executions, count| ("Review".to_owned(), to.to_owned(), executions, count);
    assert_eq!(moves, [way("Print", 4, 4), way("Draft", 2, 3)]);
    story.end().await
}
