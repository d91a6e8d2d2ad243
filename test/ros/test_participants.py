# SPDX-License-Identifier: Apache-2.0
"""Ids of DDS participants: each process gets its own, through a profile that is otherwise the shipped one."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from muon_ad_core.machine import PROFILE_VARIABLES
from muon_ad_ros import participants as participants_module
from muon_ad_ros.environment import child_environment, dds_profile
from muon_ad_ros.participants import IDS, Participants

NAMESPACE = {"dds": "http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"}
TALK = """
import sys, threading, rclpy
from std_msgs.msg import String
rclpy.init()
node = rclpy.create_node(sys.argv[1])
publisher = node.create_publisher(String, sys.argv[1], 10)
node.create_timer(0.1, lambda: publisher.publish(String(data="hello")))
heard = threading.Event()
node.create_subscription(String, sys.argv[2], lambda message: heard.set(), 10)
while not heard.is_set():
    rclpy.spin_once(node)
print("heard", flush=True)
rclpy.spin(node)
"""


@pytest.fixture
def participants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Participants]:
    monkeypatch.setattr(participants_module, "SHARED_MEMORY", tmp_path)
    made = Participants(dict.fromkeys(PROFILE_VARIABLES, str(dds_profile())))
    yield made
    made.close()


def id_in(environment: Mapping[str, str]) -> int:
    (profile,) = {environment[name] for name in PROFILE_VARIABLES}
    (entry,) = ElementTree.parse(profile).getroot().iterfind(".//dds:rtps/dds:participantID", NAMESPACE)
    return int(entry.text or "")


def test_the_profile_differs_from_the_shipped_one_by_the_id_alone(participants: Participants) -> None:
    profile = Path(participants.next_environment()[PROFILE_VARIABLES[0]])
    text = profile.read_text()
    number = id_in(participants.next_environment())
    assert number in IDS
    assert text.replace(f"<participantID>{number}</participantID>", "") == dds_profile().read_text()
    participants.close()
    assert not profile.exists()


def test_an_id_is_used_again_after_all_the_others(participants: Participants) -> None:
    ids = []
    for index, _ in enumerate(IDS):
        ids.append(id_in(participants.next_environment()))
        participants.started(index)
        if index:  # the first one lives on
            participants.ended(index)
    assert sorted(ids) == list(IDS)
    assert id_in(participants.next_environment()) == ids[1]


def test_ids_whose_ports_exist_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(participants_module, "SHARED_MEMORY", tmp_path)
    made = Participants({**dict.fromkeys(PROFILE_VARIABLES, str(dds_profile())), "ROS_DOMAIN_ID": "3"})
    for number in IDS[:2]:  # user unicast ports of domain 3
        (tmp_path / f"fastrtps_port{7400 + 3 * 250 + 11 + 2 * number}").touch()
    assert id_in(made.next_environment()) == IDS[2]
    for number in IDS[2:]:
        (tmp_path / f"fastrtps_port{7400 + 3 * 250 + 11 + 2 * number}").touch()
    assert id_in(made.next_environment()) in IDS
    made.close()


def test_a_profile_the_user_chose_stays_in_force() -> None:
    environment = dict.fromkeys(PROFILE_VARIABLES, "/mine.xml")
    participants = Participants(environment)
    for process in range(2 * len(IDS)):
        assert participants.next_environment() == environment
        participants.started(process)
        participants.ended(process)
    participants.close()


def test_processes_with_the_same_id_hear_each_other() -> None:
    participants = Participants(child_environment())
    environment = participants.next_environment()
    talkers = [
        subprocess.Popen([sys.executable, "-c", TALK, *names], env=environment, stdout=subprocess.PIPE, text=True)
        for names in (("here", "there"), ("there", "here"))
    ]
    try:
        assert [talker.stdout.readline() for talker in talkers if talker.stdout] == ["heard\n", "heard\n"]
    finally:
        for talker in talkers:
            talker.kill()
            talker.communicate()
        participants.close()
