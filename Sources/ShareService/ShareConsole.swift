import REST
import WebRelay

/// The pages for account holders. One document without a build step; what it shows comes from the API.
enum ShareConsole {
  static var endpoints: [Endpoint] {
    ["/", "/forgotPassword", "/register/{token}", "/resetPassword/{token}"].map { path in
      .open("GET", path, "The page for account holders") { _ in
        APIResponse(
          headers: [
            ("content-type", "text/html; charset=utf-8"), ("content-security-policy", policy),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
          ], body: Array(page.utf8))
      }
    }
  }

  private static let policy = PagePolicy.text(
    styles: [style], scripts: [script], also: ["connect-src 'self'", "img-src data:"])
}
