#!/usr/bin/env python3
"""Chromium, headless, as a visitor of a public share and as an account holder at the share service's page. Prints one JSON object of what it saw.

SWIFTLET_TEST is JSON: site, the URL of a share; invited and uninvited, URLs of shares that want a sign-in; pages, URLs of error pages by name; console, email, password; width, height; screenshots, a directory or null."""
import json
import os
import sys

from playwright.sync_api import expect, sync_playwright

GIVEN = json.loads(os.environ["SWIFTLET_TEST"])
SIZE = {"width": GIVEN["width"], "height": GIVEN["height"]}
# Whatever goes wrong with a page's policy is noted in the page itself.
WATCH = """window.violations = [];
addEventListener("securitypolicyviolation", event => violations.push(event.violatedDirective + " " + event.blockedURI));"""
seen = {"errors": [], "wide": []}


def note(page, name):
    """At every step: does the page fit, did a name become markup, did the policy have to stop something?"""
    state = page.evaluate(
        "({wide: document.documentElement.scrollWidth - innerWidth, owned: String(window.owned), violations: window.violations || []})")
    if state["wide"] > 0:
        seen["wide"].append(f"{name}: {state['wide']} px")
    if state["owned"] != "undefined":
        seen["errors"].append(f"{name}: a name became a script")
    seen["errors"] += [f"{name}: {text}" for text in state["violations"]]
    if GIVEN.get("screenshots"):
        page.screenshot(path=f"{GIVEN['screenshots']}/{GIVEN['width']}-{name}.png", full_page=True)


def opened(context):
    page = context.new_page()
    page.set_default_timeout(30_000)

    def told(message):
        # That a page has an error status is what the pages below are for.
        if message.type in ("error", "warning") and "the server responded with a status of" not in message.text:
            seen["errors"].append(f"{page.url}: {message.text}")

    page.on("console", told)
    page.on("pageerror", lambda error: seen["errors"].append(f"{page.url}: {error}"))
    page.add_init_script(WATCH)
    return page


def visit(browser):
    context = browser.new_context(viewport=SIZE)
    page = opened(context)
    page.goto(GIVEN["site"])
    seen["interstitial"] = page.inner_text("body")
    note(page, "interstitial")
    page.get_by_role("button", name="Go on").click()
    page.wait_for_selector("body[data-socket]")
    seen["site"] = {
        "text": page.inner_text("h1"), "color": page.evaluate("getComputedStyle(document.querySelector('h1')).color"),
        "image": page.evaluate("document.querySelector('img').naturalWidth"), "fetched": page.evaluate("document.body.dataset.fetched"),
        "socket": page.evaluate("document.body.dataset.socket")}
    note(page, "site")
    page.reload()
    seen["again"] = page.inner_text("h1")
    context.close()
    # A browser shows the page of a 401 once a person has tried a password.
    context = browser.new_context(
        viewport=SIZE, extra_http_headers={"skip_zrok_interstitial": "1"}, http_credentials={"username": "eve", "password": "wrong"})
    seen["pages"] = {}
    for name, url in GIVEN["pages"].items():
        page = opened(context)
        status = page.goto(url).status
        seen["pages"][name] = {"status": status, "text": page.inner_text("body")}
        note(page, name)
        page.close()
    context.close()


def sign_in(browser):
    """At shares that want their visitors to; the provider says yes to everyone."""
    context = browser.new_context(viewport=SIZE, extra_http_headers={"skip_zrok_interstitial": "1"})
    page = opened(context)
    page.goto(GIVEN["invited"])
    page.wait_for_selector("body[data-socket]")
    seen["signed in"] = {"text": page.inner_text("h1"), "socket": page.evaluate("document.body.dataset.socket"), "again": page.reload().status}
    note(page, "signed-in")
    page.goto(GIVEN["uninvited"])
    seen["uninvited"] = page.inner_text("body")
    note(page, "uninvited")
    page.get_by_role("link", name="Use another account").click()
    page.wait_for_load_state()
    note(page, "another-account")
    page.goto(GIVEN["invited"] + "/.zrok-login?logout")
    seen["signed out of a share"] = page.inner_text("body")
    note(page, "signed-out-share")
    context.close()


def administer(browser):
    context = browser.new_context(viewport=SIZE)
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=GIVEN["console"])
    page = opened(context)
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(GIVEN["console"])
    note(page, "sign-in")
    page.fill("#email", GIVEN["email"])
    page.fill("#password", "wrong " + GIVEN["password"])
    page.get_by_role("button", name="Sign in").click()
    page.locator("[role=alert]:not(:empty)").wait_for()
    seen["wrong"] = page.inner_text("[role=alert]")
    note(page, "wrong-password")
    page.fill("#password", GIVEN["password"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("svg")
    seen["who"] = page.inner_text("#who")
    # A bar that is more than a line on the ground.
    seen["bars"] = page.evaluate("[...document.querySelectorAll('svg rect')].filter(bar => bar.getAttribute('height') > 1).length")
    seen["overview"] = page.inner_text("main")
    seen["markup"] = page.evaluate("document.querySelectorAll('main script, main img').length")
    note(page, "overview")
    page.get_by_role("button", name="hour").click()
    page.wait_for_selector("button.main:has-text('hour')")
    page.get_by_role("button", name="Copy").first.click()
    page.get_by_role("button", name="Copied").wait_for()
    seen["copied"] = page.evaluate("navigator.clipboard.readText()")
    page.get_by_role("button", name="Account").click()
    note(page, "account")
    page.get_by_role("button", name="Back").click()
    rows = page.locator(".row:has(button:text-is('Copy'))")
    rows.first.wait_for()
    before = rows.count()
    rows.first.get_by_role("button", name="Delete").click()
    expect(rows).to_have_count(before - 1)
    seen["deleted"] = before - rows.count()
    page.get_by_role("button", name="Disable").click()
    page.get_by_text("No environment yet").wait_for()
    note(page, "nothing-yet")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_selector("#password")
    seen["signed out"] = page.evaluate("sessionStorage.length === 0 && document.getElementById('who').textContent === ''")
    page.goto(GIVEN["console"] + "/forgotPassword")
    note(page, "forgot-password")
    page.goto(GIVEN["console"] + "/register/no-such-token")
    page.wait_for_selector(".bad")
    seen["register"] = page.inner_text(".bad")
    note(page, "register-bad")
    context.close()


with sync_playwright() as driver:
    # Nothing but this machine: other names do not resolve.
    chromium = driver.chromium.launch(
        executable_path=GIVEN["chromium"],
        args=["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE *.localhost, EXCLUDE 127.0.0.1", "--disable-background-networking"]
        + (["--no-sandbox"] if os.getuid() == 0 else []))
    visit(chromium)
    sign_in(chromium)
    administer(chromium)
    chromium.close()
json.dump(seen, sys.stdout)
