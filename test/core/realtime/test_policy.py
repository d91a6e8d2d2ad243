# SPDX-License-Identifier: Apache-2.0
"""Scheduling policies: applied to every thread, read back, and refused with a reason."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading

import pytest

from muon_ad_core.realtime import policy, sched_attr
from muon_ad_core.realtime.policy import PolicyRequest, apply_policy, holds, may_use_real_time, read_policy

IN_A_CHILD = """
import json, sys, threading
from muon_ad_core.realtime.policy import PolicyRequest, apply_policy, holds, read_policy
release = threading.Event()
threads = [threading.Thread(target=release.wait) for _ in range(3)]
for thread in threads: thread.start()
request = PolicyRequest(sys.argv[1], int(sys.argv[2]))
grant = apply_policy(request)
report = {"policy": grant.policy, "priority": grant.priority, "reason": grant.reason, "holds": holds(request)}
late = threading.Thread(target=release.wait); late.start()
report["holds_with_new_thread"] = holds(request)
report["mixed"] = read_policy().reason
release.set()
print(json.dumps(report))
"""


def run_in_child(*arguments: str, prefix: tuple[str, ...] = (), code: str = IN_A_CHILD) -> dict:
    command = [*prefix, sys.executable, "-c", code, *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, timeout=60)
    return json.loads(done.stdout)


def test_every_thread_gets_the_policy() -> None:
    report = run_in_child("BATCH", "0")
    assert report["policy"] == "BATCH"
    assert report["reason"] == ""
    assert report["holds"]


def test_real_time_is_granted_where_permitted_and_a_new_thread_is_noticed() -> None:
    if not may_use_real_time(10):
        pytest.skip("no permission for real-time priority 10 (rtprio limit or CAP_SYS_NICE)")
    report = run_in_child("FIFO", "10")
    if report["reason"]:
        pytest.skip(f"the kernel refused FIFO: {report['reason']}")
    assert (report["policy"], report["priority"]) == ("FIFO", 10)
    assert report["holds"]
    assert not report["holds_with_new_thread"]
    assert "1 of 5 threads" in report["mixed"]


def test_without_privilege_the_reason_names_limit_and_remedy() -> None:
    setpriv = shutil.which("setpriv")
    prefix: tuple[str, ...] = ()
    if may_use_real_time(10):
        if os.geteuid() != 0 or setpriv is None:
            pytest.skip("this user may use real-time priorities and setpriv cannot take the privilege away")
        prefix = (setpriv, "--bounding-set=-sys_nice", "--inh-caps=-sys_nice")
    report = run_in_child("FIFO", "10", prefix=prefix)
    assert report["policy"] == "OTHER"
    assert not report["holds"]
    assert "rtprio limit is" in report["reason"]
    assert "CAP_SYS_NICE" in report["reason"]
    assert "limits.d" in report["reason"]


def test_a_refusal_in_spite_of_the_limits_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(policy, "may_use_real_time", lambda priority: True)
    monkeypatch.setattr(sched_attr, "set_attributes", refuse)
    grant = apply_policy(PolicyRequest("FIFO", 10))
    assert "control group" in grant.reason


def test_affinity_is_applied_and_an_impossible_one_refused() -> None:
    before = sorted(os.sched_getaffinity(0))
    try:
        grant = apply_policy(PolicyRequest("OTHER", affinity=(before[0],)))
        assert grant.affinity == (before[0],)
        refused = apply_policy(PolicyRequest("OTHER", affinity=(4000,)))
        assert refused.affinity == (before[0],)
        assert "4000" in refused.reason
    finally:
        apply_policy(PolicyRequest("OTHER", affinity=tuple(before)))
    assert sorted(os.sched_getaffinity(0)) == before


LEAD_IN_A_CHILD = """
import json, threading
from muon_ad_core.realtime.policy import PolicyRequest, apply_policy, holds, read_policy
release = threading.Event()
thread = threading.Thread(target=release.wait)
thread.start()
request = PolicyRequest("DEADLINE", 20, runtime_ms=2.0, period_ms=33.0)
grant = apply_policy(request, thread.native_id)
report = {"policy": grant.policy, "reason": grant.reason, "holds": holds(request, thread.native_id)}
report["others"] = str(read_policy())
release.set()
print(json.dumps(report))
"""


def test_deadline_goes_to_the_leading_thread_and_fifo_to_its_helpers() -> None:
    if not may_use_real_time(20):
        pytest.skip("no permission for real-time priority 20 (rtprio limit or CAP_SYS_NICE)")
    report = run_in_child(code=LEAD_IN_A_CHILD)
    if report["policy"] != "DEADLINE":
        pytest.skip(f"the kernel refused DEADLINE: {report['reason']}")
    assert report["holds"]
    assert report["others"] == "FIFO 20"


def test_a_nice_value_is_added_to_the_one_the_process_was_started_with() -> None:
    code = """
import json, os
from muon_ad_core.realtime.policy import PolicyRequest, apply_policy, holds
started = os.nice(0)
grant = apply_policy(PolicyRequest("OTHER", nice=3))
print(json.dumps({"added": grant.nice - started, "reason": grant.reason, "holds": holds(PolicyRequest("OTHER"))}))
"""
    assert run_in_child(code=code, prefix=("nice", "-n", "2")) == {"added": 3, "reason": "", "holds": False}


def test_deadline_needs_a_budget_that_fits_its_period() -> None:
    with pytest.raises(ValueError, match="runtime_ms"):
        PolicyRequest("DEADLINE", 20, runtime_ms=40.0, period_ms=33.0)


def test_read_policy_covers_threads_of_this_process() -> None:
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    try:
        assert thread.native_id in policy.thread_ids()
        assert apply_policy(PolicyRequest("OTHER")).reason == ""
        assert read_policy().policy == "OTHER"
        assert holds(PolicyRequest("OTHER"))
    finally:
        release.set()
        thread.join()


@pytest.mark.parametrize(("name", "priority"), [("IDLE?", 0), ("FIFO", 0), ("RR", 100)])
def test_requests_outside_the_range_are_refused(name: str, priority: int) -> None:
    with pytest.raises(ValueError, match="unknown scheduling policy|outside"):
        PolicyRequest(name, priority)
