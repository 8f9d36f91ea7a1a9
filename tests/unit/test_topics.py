"""The declared topics: their names, their shape, and what is said about a topic that has another."""

from __future__ import annotations

import pytest

from fraudstream.errors import SettingsError
from fraudstream.settings import Settings
from fraudstream.topics import (
    BROKERS_CLOCK,
    FoundTopic,
    TopicSpec,
    changelog_topic,
    declared_topics,
    find_problems,
    judged_topic,
    replayed_topic,
    sink_topics,
    worker_topics,
)

MIB = 1024 * 1024


def specs_by_name(settings: Settings) -> dict[str, TopicSpec]:
    return {spec.name: spec for spec in declared_topics(settings)}


def as_declared(settings: Settings) -> dict[str, FoundTopic]:
    return {spec.name: FoundTopic(spec.name, spec.partitions, spec.config) for spec in declared_topics(settings)}


def test_every_topic_that_users_see_and_the_workers_own_are_declared(own_settings: Settings) -> None:
    assert set(specs_by_name(own_settings)) == {
        *own_settings.topic_names,
        own_settings.labels_topic,
        changelog_topic(own_settings),
        replayed_topic(own_settings),
    }


def test_the_changelog_has_the_name_that_faust_gives_to_the_table_of_profiles(own_settings: Settings) -> None:
    import faust

    app = faust.App(own_settings.app_id, broker="kafka://127.0.0.1:1", store="memory://")
    assert app.Table("profiles").changelog_topic.get_topic_name() == changelog_topic(own_settings)


def test_only_what_is_looked_up_by_key_is_compacted_so_no_event_is_ever_compacted_away(own_settings: Settings) -> None:
    compacted = [spec.name for spec in declared_topics(own_settings) if spec.config["cleanup.policy"] == "compact"]
    assert compacted == [changelog_topic(own_settings), replayed_topic(own_settings)]


def test_all_topics_have_as_many_partitions_as_transactions(own_settings: Settings) -> None:
    settings = own_settings.model_copy(update={"topic_partitions": 12})
    assert {spec.partitions for spec in declared_topics(settings)} == {12}


@pytest.mark.parametrize(("copies", "in_sync"), [(1, "1"), (2, "1"), (3, "2")])
def test_a_write_survives_the_loss_of_a_broker_and_goes_on_without_it(
    own_settings: Settings, copies: int, in_sync: str
) -> None:
    settings = own_settings.model_copy(update={"topic_replication": copies})
    for spec in declared_topics(settings):
        assert (spec.replication, spec.config["min.insync.replicas"]) == (copies, in_sync)


def test_a_dead_letter_has_room_for_an_original_of_one_mib_with_its_headers(own_settings: Settings) -> None:
    limit = int(specs_by_name(own_settings)[own_settings.dead_letters_topic].config["max.message.bytes"])
    assert limit >= MIB + 64 * 1024


def test_two_topics_of_one_name_are_refused_because_the_worker_would_read_its_own_verdicts(
    own_settings: Settings,
) -> None:
    settings = own_settings.model_copy(update={"transactions_topic": "payments", "verdicts_topic": "payments"})
    with pytest.raises(SettingsError, match=r"TRANSACTIONS_TOPIC, VERDICTS_TOPIC: .*'payments'"):
        declared_topics(settings)


@pytest.mark.parametrize("name", ["", "with space", "a/b", "..", "x" * 250, "naïve"])
def test_a_name_that_kafka_does_not_take_is_refused_with_its_setting(own_settings: Settings, name: str) -> None:
    with pytest.raises(SettingsError, match="ALERTS_TOPIC"):
        declared_topics(own_settings.model_copy(update={"alerts_topic": name}))


def test_topics_as_declared_have_no_problem(own_settings: Settings) -> None:
    assert find_problems(declared_topics(own_settings), as_declared(own_settings)) == []


def test_a_missing_topic_names_the_command_that_creates_it(own_settings: Settings) -> None:
    found = as_declared(own_settings)
    del found[own_settings.alerts_topic]
    [problem] = find_problems(declared_topics(own_settings), found)
    assert problem.topic == own_settings.alerts_topic
    assert "missing" in str(problem)
    assert "fraudstream topics create" in problem.mend


def test_another_number_of_partitions_says_why_it_cannot_be_changed_in_place(own_settings: Settings) -> None:
    name = own_settings.transactions_topic
    found = as_declared(own_settings) | {name: FoundTopic(name, 6, None)}
    [problem] = find_problems(declared_topics(own_settings), found)
    assert problem.wrong == "expected 4 partitions, found 6"
    assert "leave their profiles behind" in problem.mend
    assert "TOPIC_PARTITIONS=6" in problem.mend


@pytest.mark.parametrize("policy", ["delete", "compact,delete"])
def test_a_changelog_that_deletes_profiles_is_a_problem(own_settings: Settings, policy: str) -> None:
    name = changelog_topic(own_settings)
    found = as_declared(own_settings) | {name: FoundTopic(name, 4, {"cleanup.policy": policy})}
    [problem] = find_problems(declared_topics(own_settings), found)
    assert problem.wrong == f"expected cleanup.policy=compact, found {policy}"
    assert f"--entity-name {name} --add-config cleanup.policy=compact" in problem.mend


def test_a_dead_letter_topic_too_small_for_large_originals_is_a_problem(own_settings: Settings) -> None:
    name = own_settings.dead_letters_topic
    config = {"cleanup.policy": "delete", "max.message.bytes": "1048588"}
    found = as_declared(own_settings) | {name: FoundTopic(name, 4, config)}
    [problem] = find_problems(declared_topics(own_settings), found)
    assert problem.wrong == "expected max.message.bytes>=2097152, found 1048588"


def test_what_workers_write_is_stamped_by_the_broker_and_nobody_is_refused_where_it_is_not(
    own_settings: Settings,
) -> None:
    name = own_settings.verdicts_topic
    by_broker = {spec.name for spec in declared_topics(own_settings) if BROKERS_CLOCK.items() <= spec.config.items()}
    assert by_broker == {
        name,
        own_settings.alerts_topic,
        own_settings.dead_letters_topic,
        changelog_topic(own_settings),
        replayed_topic(own_settings),
    }
    found = as_declared(own_settings)
    found |= {name: FoundTopic(name, 4, {**(found[name].config or {}), "message.timestamp.type": "CreateTime"})}
    [problem] = find_problems(declared_topics(own_settings), found)
    assert problem.wrong.startswith(
        "expected message.timestamp.type=LogAppendTime, found CreateTime, with which no worker"
    )
    assert "--add-config message.timestamp.type=LogAppendTime" in problem.mend
    assert find_problems(worker_topics(own_settings), found) == find_problems(sink_topics(own_settings), found) == []


def test_what_the_user_tuned_on_a_living_cluster_is_no_problem(own_settings: Settings) -> None:
    name = own_settings.dead_letters_topic
    config = {"cleanup.policy": "delete", "max.message.bytes": "9000000", "retention.ms": "-1"}
    found = as_declared(own_settings) | {name: FoundTopic(name, 4, config)}
    assert find_problems(declared_topics(own_settings), found) == []


def test_a_setting_that_the_broker_leaves_out_is_not_guessed(own_settings: Settings) -> None:
    found = {name: FoundTopic(name, topic.partitions, {}) for name, topic in as_declared(own_settings).items()}
    assert find_problems(declared_topics(own_settings), found) == []


def test_a_broker_that_tells_no_settings_is_judged_by_partitions_alone(own_settings: Settings) -> None:
    found = {name: FoundTopic(name, topic.partitions, None) for name, topic in as_declared(own_settings).items()}
    assert find_problems(declared_topics(own_settings), found) == []


def test_what_is_rekeyed_is_a_topic_of_its_own_kept_no_shorter_than_what_comes_in(own_settings: Settings) -> None:
    settings = own_settings.model_copy(update={"keying": "payload"})
    assert (judged_topic(own_settings), judged_topic(settings)) == (
        own_settings.transactions_topic,
        f"{settings.app_id}-rekeyed",
    )
    assert specs_by_name(settings).keys() - specs_by_name(own_settings).keys() == {judged_topic(settings)}
    assert find_problems(declared_topics(settings), as_declared(settings)) == []
    for kept, is_enough in (("-1", True), (str(30 * 86_400_000), True), (str(86_400_000), False)):
        found = as_declared(settings)
        own = found[judged_topic(settings)]
        found[own.name] = FoundTopic(own.name, own.partitions, {**(own.config or {}), "retention.ms": kept})
        problems = [str(one) for one in find_problems(declared_topics(settings), found)]
        assert len(problems) == (not is_enough)
        assert all("retention.ms=604800000" in one and "deleted before they are judged" in one for one in problems)
