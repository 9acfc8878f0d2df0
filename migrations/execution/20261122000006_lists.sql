-- ListTasks by due time: what is due never comes last, as if it were due at the end of time.
create index waits_task_due on execution.waits
    (coalesce(wake_at, '9999-12-31T23:59:59.999999Z'), id) where kind = 'person';
