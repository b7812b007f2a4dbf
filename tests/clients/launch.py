"""A SMART launch without a browser: follows the redirects and posts the gateway's plain HTML forms.

Takes a gateway's base URL, the file of its CA and a login; gives the redirect that the app would receive, or the token
response. It does what a person without JavaScript could do and nothing else: it fills in the fields that the page has.
Fields: `username`, `password`; radio `patient` with a search box `query`; checkboxes `scope`, button `decision`.
"""
import base64
import dataclasses
import hashlib
import html.parser
import secrets
import urllib.parse

import requests

STEPS = 12


@dataclasses.dataclass
class Login:
    """Who logs in, whom they choose, and which offered scopes they leave out."""

    username: str
    password: str
    patient: str | None = None
    withheld: frozenset[str] = frozenset()
    decision: str = "allow"


class Form:
    """One form of a page: its action, its method and its fields as a browser would send them, buttons apart."""

    def __init__(self, attributes):
        self.action = attributes.get("action") or ""
        self.method = (attributes.get("method") or "get").lower()
        self.inputs: list[dict] = []
        self.buttons: list[dict] = []

    def names(self) -> set[str]:
        return {i["name"] for i in self.inputs + self.buttons if i.get("name")}

    def values(self, name: str) -> list[str]:
        return [i.get("value", "") for i in self.inputs + self.buttons if i.get("name") == name]


class Page(html.parser.HTMLParser):
    """The forms of an HTML page."""

    def __init__(self, text: str):
        super().__init__()
        self.forms: list[Form] = []
        self.open: Form | None = None
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = {name: value if value is not None else "" for name, value in attrs}
        if tag == "form":
            self.open = Form(attributes)
            self.forms.append(self.open)
        elif self.open is not None and tag == "input":
            kind = attributes.get("type", "text").lower()
            (self.open.buttons if kind in ("submit", "image") else self.open.inputs).append(attributes | {"type": kind})
        elif self.open is not None and tag == "button":
            self.open.buttons.append(attributes)

    def handle_endtag(self, tag):
        if tag == "form":
            self.open = None

    def handle_data(self, data):
        if data.strip():
            self.text.append(data.strip())

    def form_with(self, name: str) -> Form | None:
        return next((form for form in self.forms if name in form.names()), None)


class Browser:
    """A cookie jar and a pair of eyes for forms."""

    def __init__(self, ca_file: str):
        self.session = requests.Session()
        self.session.verify = ca_file
        # Variables such as REQUESTS_CA_BUNDLE would take precedence over the CA of this gateway.
        self.session.trust_env = False
        self.session.headers["Accept"] = "text/html,application/xhtml+xml"
        self.pages: list[str] = []

    def authorize(self, url: str, redirect_uri: str, login: Login) -> str:
        """Goes from the authorization endpoint to the app's redirect, and returns that URL in full."""
        answer = self.session.get(url, allow_redirects=False, timeout=30)
        posted = set()
        for _ in range(STEPS):
            if answer.is_redirect:
                target = urllib.parse.urljoin(answer.url, answer.headers["Location"])
                if target.startswith(redirect_uri):
                    return target
                answer = self.session.get(target, allow_redirects=False, timeout=30)
                continue
            page = Page(answer.text)
            if answer.status_code != 200:
                raise AssertionError(f"page answered {answer.status_code}: {' '.join(page.text)[:300]}")
            step, form, fields = choose(page, login, posted)
            self.pages.append(step)
            posted.add(step)
            answer = self.submit(answer.url, form, fields)
        raise AssertionError(f"no redirect to the app after {STEPS} steps: {self.pages}")

    def submit(self, url: str, form: Form, fields: list[tuple[str, str]]):
        target = urllib.parse.urljoin(url, form.action)
        if form.method == "get":
            return self.session.get(target, params=fields, allow_redirects=False, timeout=30)
        parts = urllib.parse.urlsplit(url)
        headers = {"Origin": f"{parts.scheme}://{parts.netloc}", "Referer": url}
        return self.session.post(target, data=fields, headers=headers, allow_redirects=False, timeout=30)


def choose(page: Page, login: Login, posted: set[str]) -> tuple[str, Form, list[tuple[str, str]]]:
    """What this page is, and what a person would send from it."""
    if form := page.form_with("password"):
        if "login" in posted:
            raise AssertionError(f"the login was refused: {' '.join(page.text)[:300]}")
        return "login", form, filled(form, {"username": login.username, "password": login.password}) + go_on(form)
    if form := page.form_with("patient"):
        offered = form.values("patient")
        wanted = next((v for v in offered if login.patient is not None and v.split("/")[-1] == login.patient), None)
        if wanted is not None or login.patient is None:
            return "patient", form, filled(form, {"patient": wanted or offered[0]}) + go_on(form)
    if (form := page.form_with("query")) and "query" not in posted and login.patient is not None:
        return "query", form, filled(form, {"query": login.patient})
    if form := page.form_with("encounter"):
        return "encounter", form, filled(form, {"encounter": form.values("encounter")[0]}) + go_on(form)
    if form := page.form_with("scope") or page.form_with("decision"):
        fields = [f for f in filled(form, {}) if not (f[0] == "scope" and f[1] in login.withheld)]
        return "consent", form, [*fields, ("decision", login.decision)]
    raise AssertionError(f"a page that is neither login, picker nor consent: {' '.join(page.text)[:300]}")


def go_on(form: Form) -> list[tuple[str, str]]:
    """The button that goes on, where a form has one that gives up beside it."""
    return [("decision", "allow")] if "allow" in form.values("decision") else []


def filled(form: Form, given: dict[str, str]) -> list[tuple[str, str]]:
    """The form's fields as a browser sends them: defaults, checked boxes, and what was typed."""
    fields = []
    for item in form.inputs:
        name, kind = item.get("name"), item["type"]
        if not name or "disabled" in item:
            continue
        if kind == "radio":
            if name in given and item.get("value", "") == given[name]:
                fields.append((name, given[name]))
        elif kind == "checkbox":
            if "checked" in item:
                fields.append((name, item.get("value", "on")))
        else:
            fields.append((name, given.get(name, item.get("value", ""))))
    return fields


@dataclasses.dataclass
class App:
    """A public client: its id, where it is sent back to, and what it asks for."""

    client_id: str
    redirect_uri: str
    scope: str


def discover(base: str, ca_file: str) -> dict:
    """The FHIR base's smart-configuration."""
    answer = requests.get(f"{base.rstrip('/')}/.well-known/smart-configuration", verify=ca_file, timeout=30)
    assert answer.status_code == 200, f"smart-configuration answered {answer.status_code}"
    return answer.json()


def standalone(base: str, ca_file: str, app: App, login: Login, extra: dict | None = None) -> dict:
    """A whole standalone launch with PKCE S256; returns the token response, checked for `state`."""
    configuration = discover(base, ca_file)
    verifier = secrets.token_urlsafe(64)
    state = secrets.token_urlsafe(16)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "response_type": "code", "client_id": app.client_id, "redirect_uri": app.redirect_uri, "scope": app.scope,
        "state": state, "aud": base, "code_challenge": challenge, "code_challenge_method": "S256", **(extra or {}),
    }
    url = configuration["authorization_endpoint"] + "?" + urllib.parse.urlencode(query)
    redirect = Browser(ca_file).authorize(url, app.redirect_uri, login)
    answer = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(redirect).query))
    assert answer.get("state") == state, f"the redirect does not carry the state: {sorted(answer)}"
    assert "code" in answer, f"the redirect carries an error: {answer.get('error')}: {answer.get('error_description')}"
    token = requests.post(
        configuration["token_endpoint"],
        data={"grant_type": "authorization_code", "code": answer["code"], "redirect_uri": app.redirect_uri,
              "client_id": app.client_id, "code_verifier": verifier},
        verify=ca_file, timeout=30,
    )
    assert token.status_code == 200, f"the token endpoint answered {token.status_code}: {token.text[:300]}"
    return token.json()


def refresh(base: str, ca_file: str, client_id: str | None, refresh_token: str) -> requests.Response:
    """One refresh request; a public client may leave `client_id` out."""
    data = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    if client_id is not None:
        data["client_id"] = client_id
    return requests.post(discover(base, ca_file)["token_endpoint"], data=data, verify=ca_file, timeout=30)


def main() -> None:
    """`launch.py BASE CA CLIENT_ID REDIRECT_URI SCOPE USERNAME PASSWORD [PATIENT]`: prints the token response."""
    import json
    import sys

    base, ca_file, client_id, redirect_uri, scope, username, password = sys.argv[1:8]
    patient = sys.argv[8] if len(sys.argv) > 8 else None
    print(json.dumps(standalone(base, ca_file, App(client_id, redirect_uri, scope), Login(username, password, patient))))


if __name__ == "__main__":
    main()
