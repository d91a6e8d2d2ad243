# SPDX-License-Identifier: Apache-2.0
"""The scheduler's parameters, and the policy of each role that follows from them."""

from __future__ import annotations

from muon_ad_core.realtime.policy import MAX_NICE, MAX_PRIORITY, MIN_PRIORITY, POLICIES

from .parameters import ParameterSpec, Value, Values

ADMISSIONS = ("auto", "always", "never")

# role -> default policy and priority. Style comes first. A camera of ours stands for hardware, which no load delays,
# but must not delay style. Detection takes what is left.
DEFAULT_POLICIES = {"style": ("FIFO", 50), "source": ("FIFO", 40), "detection": ("OTHER", 30)}


def policy_parameters(role: str, policy: str, priority: int) -> tuple[ParameterSpec, ...]:
    """The parameters that say how workers of one role are scheduled."""
    return (
        ParameterSpec(
            f"{role}.policy", policy, f"Scheduling policy for workers of role {role}.", choices=tuple(POLICIES)
        ),
        ParameterSpec(
            f"{role}.priority",
            priority,
            f"Real-time priority for role {role} under FIFO and RR.",
            minimum=MIN_PRIORITY,
            maximum=MAX_PRIORITY,
        ),
        ParameterSpec(
            f"{role}.affinity",
            [],
            f"Numbers of the CPUs for role {role}; empty for all.",
            item=int,
            minimum=0,
            maximum=4095,
        ),
    )


SCHEDULER_PARAMETERS = (
    *(spec for role, default in DEFAULT_POLICIES.items() for spec in policy_parameters(role, *default)),
    ParameterSpec("enabled", True, "Whether the scheduler acts; if not, workers run as ordinary processes do."),
    ParameterSpec(
        "admission",
        "auto",
        "Whether detection runs only in slots after a style frame; 'auto': where priorities do not pre-empt (style on "
        "an accelerator, or refused its real-time priority).",
        choices=ADMISSIONS,
    ),
    ParameterSpec(
        "detection.nice_without_real_time",
        10,
        "Added to detection's nice value where style was refused its real-time priority.",
        minimum=0,
        maximum=MAX_NICE,
    ),
    ParameterSpec(
        "detection.limits_hz",
        [12, 5, 2],
        "Rates detection is held to, one after another, while style's frames are late or slow; empty: never.",
        item=int,
        minimum=1,
        maximum=1000,
    ),
    ParameterSpec("style.lowest_level", "", "Narrowest level 'auto' may use; empty: the engine's."),
    ParameterSpec("style.highest_level", "", "Widest level 'auto' may use; empty: the engine's."),
    ParameterSpec(
        "style.median_share",
        0.45,
        "Share of style's deadline that the median frame must keep; narrower levels are used until it does. 1: only "
        "late frames count.",
        minimum=0.05,
        maximum=1.0,
    ),
    ParameterSpec("style.level_by_scene", True, "Use narrower levels for plain scenes and, with depth, for far ones."),
    ParameterSpec(
        "watchdog.silence",
        1.0,
        "Seconds without a report after which a worker whose process does not run counts as hanging; one that reports "
        "but finishes no frame does after three times as long.",
        minimum=1.0,
        maximum=600.0,
    ),
    ParameterSpec("watchdog.restart", True, "End a hanging worker, so that it is started again (use_respawn)."),
)


def policy_settings(role: str, values: Values, style_is_real_time: bool) -> dict[str, Value]:
    """The scheduling parameters for a worker of `role`, given the scheduler's own parameter `values`.

    Where style was refused its priority, detection yields by its nice value, which needs no permission.
    """
    policy, nice = "OTHER", 0
    if values["enabled"]:
        policy = values[f"{role}.policy"]
        nice = values["detection.nice_without_real_time"] if role == "detection" and not style_is_real_time else 0
    return {
        "scheduling.policy": policy,
        "scheduling.priority": values[f"{role}.priority"],
        "scheduling.affinity": values[f"{role}.affinity"] if values["enabled"] else [],
        "scheduling.nice": nice,
    }
