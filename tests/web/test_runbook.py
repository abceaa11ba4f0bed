"""Where alerts lead: each has its chapter on the page that the daemon serves."""

from streammeta.web.runbook import runbook_page
from tests.deploy.expressions import alerts


def test_each_alert_has_its_anchor() -> None:
    """As its `runbook_url` names it."""
    page = runbook_page()
    for alert in alerts():
        anchor = alert["annotations"]["runbook_url"].partition("#")[2]
        assert f'<h2 id="{anchor}">{alert["alert"]}</h2>' in page


def test_its_text_is_text() -> None:
    """What looks like a tag is none."""
    assert "**Means.**" in runbook_page()
    assert "<script" not in runbook_page()
