//! Rows that the database refuses.

use chrono::Utc;
use tonic::Code;

use super::*;
use crate::fixtures::World;

#[tokio::test]
async fn start_of_a_workflow_that_was_just_deleted_finds_none() {
    let world = World::new().await;
    let line = world.line(1).await;
    let mut rows = Rows {
        born: NewExecutions {
            id: vec![Uuid::now_v7()],
            workflow_id: vec![Uuid::now_v7()],
            client_id: vec![line.client],
            status: vec!["RUNNING".to_owned()],
            started_at: vec![Utc::now()],
            completed_at: vec![None],
            metadata: vec![None],
            updated_at: vec![Utc::now()],
            workflow_version: vec![1],
            started_by: vec!["user:1".to_owned()],
            error: vec![None],
            error_code: vec![None],
            simulation: vec![false],
            event_count: vec![1],
            closing_as: vec![None],
            business_key: vec![None],
            restarted_from_id: vec![None],
            schedule_id: vec![None],
            parent_execution_id: vec![None],
        },
        ..Rows::default()
    };
    let mut conn = world.pool.acquire().await.unwrap();
    let error = rows.write(&mut conn).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    rows.born.workflow_id = vec![line.workflow];
    rows.write(&mut conn).await.unwrap();
}
