-- Reports tell what a restart took over from what was done.
alter table execution.execution_logs
    -- The execution that this one was restarted from did it: nothing was done or waited for here.
    add column taken_over boolean not null default false;
update execution.execution_logs l
set taken_over = true
from execution.workflow_executions e
where e.id = l.execution_id and e.restarted_from_id is not null and l.status = 'COMPLETED'
    and l.message like '%taken over from execution ' || e.restarted_from_id || '%';
