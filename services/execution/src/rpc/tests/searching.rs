//! How executions are found: by what they are, by what they wait for, and by what is wrong with them.

use super::*;

async fn found(executions: &Executions, filter: &str) -> usize {
    let request = pb::ListExecutionsRequest {
        filter: filter.to_owned(),
        ..pb::ListExecutionsRequest::default()
    };
    let list = executions.list_executions(call(request)).await.unwrap();
    list.into_inner().executions.len()
}

#[tokio::test]
async fn executions_are_found_by_everything_that_a_filter_knows() {
    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 6).await;
    // Two are over, one of these failed; one waits for a person, one for an operator.
    world
        .run(&format!(
            "create temp table numbered as
                select id, row_number() over (order by started_at) as n from execution.workflow_executions;
             update execution.workflow_executions e
                set status = (array['COMPLETED', 'FAILED'])[n]::execution.execution_status,
                    started_at = '2020-01-01T00:00:00Z', completed_at = ('2020-01-0' || n + 1)::timestamptz,
                    updated_at = ('2020-01-0' || n + 1)::timestamptz,
                    error_code = case n when 2 then 'TIMEOUT' end,
                    metadata = metadata || '{{\"region\": \"eu\"}}'
               from numbered where numbered.id = e.id and n <= 2;
             delete from execution.waits using numbered where execution_id = numbered.id and n <= 2;
             update execution.waits set kind = 'person', step_id = '{0}'
               from numbered where execution_id = numbered.id and n = 3;
             update execution.waits set kind = 'incident'
               from numbered where execution_id = numbered.id and n = 4",
            line.task_step
        ))
        .await;
    let executions = Executions::new(service(&world));
    let (job_step, task_step) = (line.job_step, line.task_step);
    for (filter, wanted) in [
        ("status = RUNNING".to_owned(), 4),
        ("status = COMPLETED|FAILED".to_owned(), 2),
        ("status = PENDING|CANCELLED".to_owned(), 0),
        ("started_at < 2020-01-02T00:00:00Z".to_owned(), 2),
        ("completed_at >= 2020-01-01T00:00:00Z".to_owned(), 2),
        ("completed_at >= 2020-01-02T00:00:01Z".to_owned(), 1),
        ("completed_at < 2020-01-03T00:00:00Z".to_owned(), 1),
        ("updated_at < 2020-01-03T00:00:00Z".to_owned(), 1),
        ("updated_at >= 2020-01-03T00:00:00Z".to_owned(), 5),
        ("error_code = TIMEOUT".to_owned(), 1),
        ("error_code = OTHER".to_owned(), 0),
        ("wait_kind = JOB".to_owned(), 2),
        ("wait_kind = INCIDENT".to_owned(), 1),
        ("wait_kind = TIMER".to_owned(), 0),
        (format!("waiting_step_id = {job_step}"), 3),
        (format!("waiting_step_id = {task_step}"), 1),
        (
            format!("waiting_step_id = {task_step} AND wait_kind = PERSON"),
            1,
        ),
        (
            format!("waiting_step_id = {task_step} AND wait_kind = JOB"),
            0,
        ),
        ("metadata.region = \"eu\" AND status = FAILED".to_owned(), 1),
        ("metadata.region = \"eu\" AND wait_kind = JOB".to_owned(), 0),
    ] {
        assert_eq!(found(&executions, &filter).await, wanted, "{filter}");
    }
    let check = executions.check_executions(call(pb::CheckExecutionsRequest {}));
    let check = check.await.unwrap().into_inner();
    assert_eq!((check.open_executions, check.execution_ids.len()), (4, 0));
    assert!(check.waiting_though_over_ids.is_empty());
    world
        .run(
            "update execution.workflow_executions set status = 'CANCELLED'
              where id = (select execution_id from execution.waits where kind = 'person')",
        )
        .await;
    let check = executions.check_executions(call(pb::CheckExecutionsRequest {}));
    let check = check.await.unwrap().into_inner();
    assert_eq!(check.waiting_though_over_ids.len(), 1);
}

/// By the code of each wait that is listed, in order.
async fn stuck(executions: &Executions, filter: &str, order_by: &str) -> Vec<pb::StuckCode> {
    let mut request = pb::ListStuckRequest {
        filter: filter.to_owned(),
        order_by: order_by.to_owned(),
        page_size: 2,
        ..pb::ListStuckRequest::default()
    };
    let mut codes = Vec::new();
    loop {
        let page = executions.list_stuck(call(request.clone())).await.unwrap();
        let page = page.into_inner();
        codes.extend(page.waits.iter().map(pb::StuckWait::code));
        if page.next_page_token.is_empty() {
            return codes;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test]
async fn what_is_stuck_is_told_once_with_the_first_reason() {
    use pb::StuckCode as Code;

    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 9).await;
    // By age; the rest of the waits is a minute old and well.
    world
        .run(
            "with numbered as (
                select id, row_number() over (order by created_at) as n from execution.waits)
             update execution.waits w
                set id = ('00000000-0000-0000-0000-00000000000' || n)::uuid,
                    kind = (array['incident', 'timer', 'job', 'person', 'person', 'signal', 'job', 'person'])[n],
                    wake_at = case n when 2 then now() - interval '2 minutes' end,
                    available_at = now() - interval '6 minutes',
                    job_type = (array[null, null, 'unknown', null, null, null, 'known'])[n],
                    task_group = case when n in (4, 5) then 'cooks' end,
                    assignees = case n when 5 then '{ann@x.org}' else '{}' end::text[],
                    held_by = case n when 8 then 'ann@x.org' end,
                    created_at = case when n in (5, 6, 8) then now() - interval '25 h' else now() end
               from numbered where numbered.id = w.id and n < 9",
        )
        .await;
    let service = service(&world);
    service
        .job_types
        .note(&service.pool, &["known".to_owned(), "of no job".to_owned()])
        .await;
    let noted = world.rows("select job_type from execution.job_types").await;
    assert_eq!(
        noted.len(),
        1,
        "a type of which no job is queued is not kept"
    );
    let executions = Executions::new(service);
    let all = stuck(&executions, "", "id").await;
    let mut reverse = stuck(&executions, "", "id desc").await;
    reverse.reverse();
    assert_eq!(all, reverse);
    assert_eq!(
        all,
        [
            Code::Incident,
            Code::Overdue,
            Code::NoWorker,
            Code::Unassigned,
            Code::Long,
            Code::Long
        ]
    );
    for (filter, wanted) in [
        ("code = INCIDENT", 1),
        ("code = LONG", 2),
        ("kind = PERSON", 2),
        ("kind = PERSON AND code = LONG", 1),
    ] {
        assert_eq!(
            stuck(&executions, filter, "").await.len(),
            wanted,
            "{filter}"
        );
    }
    let other = format!("workflow_id = {}", Uuid::nil());
    assert!(stuck(&executions, &other, "").await.is_empty());
    world
        .run("update execution.job_types set last_asked_at = now() - interval '301 s'")
        .await;
    assert_eq!(stuck(&executions, "code = NO_WORKER", "").await.len(), 2);
    let request = pb::ListStuckRequest {
        older_than: Some(prost_types::Duration {
            seconds: 59,
            nanos: 0,
        }),
        ..pb::ListStuckRequest::default()
    };
    let status = executions.list_stuck(call(request)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    let answer = executions.list_stuck(call(pb::ListStuckRequest::default()));
    let answer = answer.await.unwrap().into_inner();
    assert!(!answer.groups_known, "nobody answers for the catalog");
    assert_eq!(answer.waits[0].wait.as_ref().unwrap().step_name, "pack");
}

#[tokio::test]
async fn task_of_an_empty_group_is_stuck_at_once() {
    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 1).await;
    world
        .run("update execution.waits set kind = 'person', task_group = 'cooks'")
        .await;
    let mut conn = world.pool.acquire().await.unwrap();
    let groups = crate::store::stuck::asked_groups(&mut conn, 10).await;
    let mut filter = crate::store::stuck::Filter {
        empty_groups: groups.unwrap(),
        older_than: Duration::from_secs(3600),
        ..Default::default()
    };
    let rows = crate::store::stuck::list(&mut conn, &filter, (None, false), 10);
    assert_eq!(rows.await.unwrap()[0].code, "GROUP_EMPTY");
    filter.empty_groups.clear();
    let rows = crate::store::stuck::list(&mut conn, &filter, (None, false), 10);
    assert!(rows.await.unwrap().is_empty());
}
