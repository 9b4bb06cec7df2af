"""What a configuration that is read again changes at once, and what waits for a restart."""

from __future__ import annotations

from typing import Any

from dicomnode.config import Config
from dicomnode.reload import RELOADABLE, plan_reload


def config(**sections: Any) -> Config:
    return Config.model_validate(sections)


def test_nothing_changes_when_nothing_was_changed() -> None:
    plan = plan_reload(config(), config())
    assert (plan.config, plan.changed, plan.waiting) == (config(), (), ())


def test_reloadable_keys_hold_and_others_wait() -> None:
    read = config(
        node={"port": 104, "tls": {"cert": "a", "key": "b"}},
        access={"calling_ae_titles": ["CT1"]},
        series={"quiet_seconds": 20},
        destination=[{"name": "pacs", "ae_title": "PACS", "host": "h", "port": 104}],
    )
    plan = plan_reload(config(), read)
    changed = ("access.calling_ae_titles", "destination", "node.tls", "series.quiet_seconds")
    assert plan.changed == changed
    assert plan.waiting == ("node.port",)
    assert plan.config.node.tls == read.node.tls
    assert plan.config.access == read.access
    assert plan.config.series.quiet_seconds == 20
    assert plan.config.node.port == config().node.port
    assert plan.config.destination == read.destination


def test_what_waits_is_told_again_at_the_next_reload() -> None:
    read = config(node={"port": 104})
    first = plan_reload(config(), read)
    assert plan_reload(first.config, read).waiting == ("node.port",)


def test_every_reloadable_key_exists() -> None:
    for key in RELOADABLE:
        section, _, name = key.partition(".")
        assert section in Config.model_fields, key
        assert not name or name in type(getattr(config(), section)).model_fields, key
