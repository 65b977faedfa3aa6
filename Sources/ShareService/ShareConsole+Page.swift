extension ShareConsole {
  static let page = head + "<style>" + style + "</style>" + body + "<script>" + script + "</script>\n</html>\n"

  private static let head = #"""
    <!doctype html>
    <html lang="en">
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Shares</title>

    """#

  static let style = #"""

      :root { color-scheme: light dark; --line: light-dark(#d8dde3, #333b45); --soft: light-dark(#5b6672, #9aa7b4); --card: light-dark(#fff, #1a1f26);
        --accent: light-dark(#0a6b5d, #4cc9b4); --bad: light-dark(#a11d2c, #ff8a94); }
      * { box-sizing: border-box }
      body { margin: 0; font: 16px/1.5 system-ui, sans-serif; background: light-dark(#f4f6f8, #11151a) }
      main, header { max-width: 60rem; margin: 0 auto; padding: 1rem }
      header { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center }
      header h1 { font-size: 1.2rem; margin: 0; flex: 1 } #who { min-width: 0; overflow-wrap: anywhere }
      section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem; margin: 0 0 1rem }
      h2 { font-size: 1.05rem; margin: 0 } h3 { font-size: .95rem; margin: 1rem 0 .3rem; color: var(--soft); font-weight: 600 }
      .row { display: flex; flex-wrap: wrap; gap: .4rem .8rem; align-items: center; padding: .6rem 0; border-top: 1px solid var(--line) }
      .row.top { border: 0; padding-top: 0 }
      .row > :first-child { flex: 1 1 14rem; min-width: 0; overflow-wrap: anywhere } .row > h2:first-child { flex-basis: auto }
      .buttons { display: flex; gap: .4rem } section > :last-child, section > :last-child > :last-child { margin-bottom: 0 }
      .soft { color: var(--soft); font-size: .875rem } .bad { color: var(--bad) }
      a { color: var(--accent) }
      button { font: inherit; font-size: .875rem; padding: .35rem .8rem; border: 1px solid var(--line); border-radius: 7px; background: none; color: inherit;
        cursor: pointer; min-height: 2.25rem }
      button.main { background: var(--accent); border-color: var(--accent); color: light-dark(#fff, #0b1512); font-weight: 600 }
      button:disabled { opacity: .5 }
      label { display: block; margin: .8rem 0 .2rem; font-size: .875rem; color: var(--soft) }
      input { font: inherit; width: 100%; padding: .5rem .6rem; border: 1px solid var(--line); border-radius: 7px; background: transparent; color: inherit }
      form { max-width: 24rem } form button { margin-top: 1rem }
      code { font: .875rem ui-monospace, monospace; overflow-wrap: anywhere }
      svg { display: block; width: 100%; height: 90px } .empty { padding: .8rem 0; color: var(--soft) }
      [hidden] { display: none !important }
    """#

  private static let body = #"""

    <header><h1>Shares</h1><span id="who" class="soft"></span><span class="buttons"><button id="account" hidden>Account</button><button id="out" hidden>Sign out</button></span></header>
    <main id="main"><noscript>This page needs JavaScript; the command line does everything without it: swiftlet share overview</noscript></main>
    """#

  /// Every text from the API enters the page through `textContent`, never as markup: names and descriptions are other
  /// people's.
  static let script = #"""

    "use strict";
    const api = "/api/v2", type = "application/zrok.v1+json", main = document.getElementById("main");
    let session = null, timer = null, windowHours = 24;
    try { session = JSON.parse(sessionStorage.getItem("session")) } catch {}

    function element(name, attributes, ...children) {
      const made = document.createElement(name);
      for (const [key, value] of Object.entries(attributes || {})) {
        if (key.startsWith("on")) made.addEventListener(key.slice(2), value); else if (value !== false && value != null) made.setAttribute(key, value === true ? "" : value);
      }
      made.append(...children.filter(child => child != null));
      return made;
    }
    async function call(method, path, body) {
      const answer = await fetch(api + path, { method, headers: { "content-type": type, ...(session ? { "x-token": session.token } : {}) },
        body: body === undefined ? undefined : JSON.stringify(body) });
      const text = await answer.text();
      let value = null;
      try { value = text ? JSON.parse(text) : null } catch { value = text }
      if (!answer.ok) {
        if (answer.status === 401 && session && path !== "/changePassword") { signOut(); throw new Error("Your sign-in is no longer good. Sign in again.") }
        throw Object.assign(new Error(sentence(typeof value === "string" ? value : value && value.message || "The service answered " + answer.status)), { status: answer.status });
      }
      return value;
    }
    function sentence(text) { return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".") }
    function show(...parts) { main.replaceChildren(...parts) }
    function when(milliseconds) { return new Date(milliseconds).toLocaleString() }
    function size(bytes) { const units = ["B", "kB", "MB", "GB", "TB"]; let i = 0; while (bytes >= 1000 && i < 4) { bytes /= 1000; i++ } return bytes.toFixed(i ? 1 : 0) + " " + units[i] }
    function signOut() { session = null; sessionStorage.removeItem("session"); clearInterval(timer); start() }

    function form(title, fields, action, submit, ...more) {
      const note = element("p", { class: "bad", role: "alert" });
      const button = element("button", { class: "main" }, action);
      const inputs = fields.map(([name, text, kind, complete, value]) =>
        [element("label", { for: name }, text), element("input", { id: name, name, type: kind, autocomplete: complete, required: true, value })]).flat();
      const made = element("form", { onsubmit: async event => {
        event.preventDefault(); button.disabled = true; note.textContent = "";
        try { await submit(Object.fromEntries(new FormData(made)), note) } catch (error) { note.textContent = error.message }
        button.disabled = false;
      } }, ...inputs, button, note);
      return element("section", {}, element("h2", {}, title), made, ...more);
    }

    function signIn() {
      show(form("Sign in", [["email", "E-mail", "email", "username"], ["password", "Password", "password", "current-password"]], "Sign in", async values => {
        session = null;
        let token;
        try { token = await call("POST", "/login", values) } catch (error) {
          throw new Error(error.status === 401 ? "The address or the password is wrong." : error.message) }
        session = { email: values.email.toLowerCase(), token };
        sessionStorage.setItem("session", JSON.stringify(session));
        start();
      }, element("p", { class: "soft" }, element("a", { href: "/forgotPassword" }, "Forgot the password?"))));
    }

    function copyButton(text) {
      const button = element("button", { onclick: async () => {
        try { await navigator.clipboard.writeText(text); button.textContent = "Copied" } catch { prompt("Copy it from here:", text) }
        setTimeout(() => button.textContent = "Copy", 1500);
      } }, "Copy");
      return button;
    }
    function danger(label, question, action) {
      return element("button", { onclick: async event => {
        if (!confirm(question)) return;
        event.target.disabled = true;
        try { await action(); await overview() } catch (error) { alert(error.message); event.target.disabled = false }
      } }, label);
    }
    function link(endpoint) { return /^https?:/.test(endpoint) ? endpoint : location.protocol + "//" + endpoint }

    function plot(samples) {
      if (!samples.length) return element("p", { class: "empty" }, "No traffic was counted in this time.");
      const space = "http://www.w3.org/2000/svg", svg = document.createElementNS(space, "svg");
      svg.setAttribute("viewBox", "0 0 600 90"); svg.setAttribute("preserveAspectRatio", "none"); svg.setAttribute("role", "img");
      const highest = Math.max(1, ...samples.map(s => (s.rx || 0) + (s.tx || 0))), width = 600 / samples.length;
      samples.forEach((sample, index) => {
        const height = 84 * ((sample.rx || 0) + (sample.tx || 0)) / highest, bar = document.createElementNS(space, "rect"), title = document.createElementNS(space, "title");
        title.textContent = when(sample.timestamp) + ": " + size(sample.rx || 0) + " in, " + size(sample.tx || 0) + " out";
        for (const [key, value] of Object.entries({ x: index * width + .5, y: 88 - height, width: Math.max(1, width - 1), height, fill: "var(--accent)" })) bar.setAttribute(key, value);
        bar.append(title); svg.append(bar);
      });
      const total = samples.reduce((sum, s) => [sum[0] + (s.rx || 0), sum[1] + (s.tx || 0)], [0, 0]);
      return element("div", {}, svg, element("p", { class: "soft" }, size(total[0]) + " in, " + size(total[1]) + " out"));
    }

    async function overview() {
      const view = await call("GET", "/overview"), traffic = await call("GET", "/metrics/account?duration=" + windowHours + "h");
      const parts = [element("section", {}, element("div", { class: "row top" }, element("h2", {}, "Traffic"),
        element("div", { class: "buttons" }, ...[[1, "hour"], [24, "day"], [720, "month"]].map(([hours, text]) =>
          element("button", { "aria-pressed": String(hours === windowHours), class: hours === windowHours ? "main" : "", onclick: () => { windowHours = hours; overview() } }, text)))),
        plot(traffic.samples || []))];
      for (const { environment, shares, frontends } of view.environments) {
        const section = element("section", {}, element("div", { class: "row top" },
          element("div", {}, element("h2", {}, environment.description || environment.zId), element("div", { class: "soft" }, environment.host, " · since ", when(environment.createdAt), environment.remoteAgent ? " · agent takes orders" : "")),
          danger("Disable", "Disable this environment? Its shares and accesses end.", () => call("POST", "/disable", { identity: environment.zId }))));
        section.append(element("h3", {}, "Shares"));
        if (!shares.length) section.append(element("p", { class: "empty" }, "Nothing is shared. On that machine: swiftlet share public 8000"));
        for (const share of shares) {
          const urls = share.shareMode === "public" ? share.frontendEndpoints : [];
          section.append(element("div", { class: "row" }, element("div", {},
            ...(urls.length ? urls.map(url => element("div", {}, element("a", { href: link(url), rel: "noreferrer noopener", target: "_blank" }, url))) : [element("code", {}, "swiftlet access private " + share.shareToken)]),
            element("div", { class: "soft" }, share.shareMode + " · " + share.backendMode + (share.target ? " · " + share.target : "") + " · " + when(share.createdAt))),
            element("div", { class: "buttons" }, copyButton(urls.length ? link(urls[0]) : "swiftlet access private " + share.shareToken),
              danger("Delete", "Delete this share? Whoever uses it is cut off.", () => call("DELETE", "/unshare", { envZId: environment.zId, shareToken: share.shareToken })))));
        }
        if (frontends.length) section.append(element("h3", {}, "Accesses to other people's shares"));
        for (const access of frontends) section.append(element("div", { class: "row" }, element("div", {}, element("code", {}, access.shareToken),
          element("div", { class: "soft" }, access.backendMode + (access.bindAddress ? " · " + access.bindAddress : "") + " · " + when(access.createdAt))),
          danger("Delete", "Delete this access?", () => call("DELETE", "/unaccess", { envZId: environment.zId, frontendToken: access.frontendToken, shareToken: access.shareToken }))));
        parts.push(section);
      }
      if (!view.environments.length) parts.push(element("section", {}, element("h2", {}, "No environment yet"),
        element("p", {}, "On the machine that shares, run:"), element("p", {}, element("code", {}, "swiftlet share enable " + session.token + " --endpoint " + location.origin), " "),
        copyButton("swiftlet share enable " + session.token + " --endpoint " + location.origin)));
      // What a share got by itself goes with it.
      const names = (view.names || []).filter(name => name.reserved);
      if (names.length) parts.push(element("section", {}, element("h2", {}, "Names"), ...names.map(name => element("div", { class: "row" },
        element("div", {}, name.name + "." + name.namespaceName, element("div", { class: "soft" }, name.shareToken ? "in use by " + name.shareToken : "free")),
        danger("Release", "Release the name? Others may take it.", () => call("DELETE", "/share/name", { namespaceToken: name.namespaceToken, name: name.name }))))));
      show(...parts);
    }

    function accountPage() {
      clearInterval(timer);
      show(element("section", {}, element("h2", {}, session.email), element("p", {}, "Account token: ", element("code", {}, session.token)), copyButton(session.token), " ",
          element("button", { onclick: async () => {
            if (!confirm("Replace the account token? Machines that are enabled must be enabled again.")) return;
            try { session.token = (await call("POST", "/regenerateAccountToken", { emailAddress: session.email })).accountToken;
              sessionStorage.setItem("session", JSON.stringify(session)); accountPage() } catch (error) { alert(error.message) }
          } }, "Replace token")),
        form("Change the password", [["old", "Old password", "password", "current-password"], ["new", "New password: \#(AccountPassword.hint)", "password", "new-password"]], "Change",
          async (values, note) => { await call("POST", "/changePassword", { email: session.email, oldPassword: values.old, newPassword: values.new }); note.textContent = "Changed." }),
        element("p", {}, element("button", { onclick: start }, "Back")));
    }

    function start() {
      const path = location.pathname.split("/").filter(Boolean).map(decodeURIComponent);
      document.getElementById("who").textContent = session ? session.email : "";
      document.getElementById("out").hidden = document.getElementById("account").hidden = !session;
      clearInterval(timer);
      if (path[0] === "register") return register(path[1]);
      if (path[0] === "resetPassword") return show(form("New password", [["password", "New password: \#(AccountPassword.hint)", "password", "new-password"]], "Set it",
        async values => { await call("POST", "/resetPassword", { resetToken: path[1], password: values.password }); location.href = "/" }));
      if (path[0] === "forgotPassword") return show(form("Forgot the password", [["email", "E-mail", "email", "username"]], "Send me a link",
        async (values, note) => { await call("POST", "/resetPasswordRequest", { emailAddress: values.email }); note.textContent = "If there is such an account, its owner gets a link." }));
      if (!session) return signIn();
      const refresh = () => overview().catch(error => show(element("section", {}, element("p", { class: "bad" }, error.message), element("button", { onclick: start }, "Try again"))));
      refresh();
      timer = setInterval(() => { if (!document.hidden) refresh() }, 15000);
    }
    async function register(token) {
      try {
        const { email } = await call("POST", "/verify", { registerToken: token });
        show(form("Welcome, " + email, [["password", "Choose a password: \#(AccountPassword.hint)", "password", "new-password"]], "Make the account", async values => {
          const made = await call("POST", "/register", { registerToken: token, password: values.password });
          session = { email, token: made.accountToken }; sessionStorage.setItem("session", JSON.stringify(session)); history.replaceState(null, "", "/"); start();
        }));
      } catch (error) { show(element("section", {}, element("h2", {}, "This link is no longer good"), element("p", { class: "bad" }, error.message), element("a", { href: "/" }, "Sign in"))) }
    }
    document.getElementById("out").addEventListener("click", signOut);
    document.getElementById("account").addEventListener("click", accountPage);
    start();
    """#
}
