import Crypto
import Foundation

/// The content security policy of a page of ours: nothing from elsewhere, and of scripts and styles those alone that
/// this program wrote, named by their hashes. Markup that somebody smuggles in runs nothing, wherever it lands.
public enum PagePolicy {
  /// - Parameters:
  ///   - styles: the texts between `<style>` and `</style>`, byte by byte; `style` attributes are not allowed.
  ///   - scripts: the texts between `<script>` and `</script>`; handlers in attributes are not allowed.
  ///   - also: further directives.
  public static func text(styles: [String], scripts: [String] = [], also: [String] = []) -> String {
    (["default-src 'none'", sources("style-src", styles)] + (scripts.isEmpty ? [] : [sources("script-src", scripts)])
      + also
      + ["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"]).joined(separator: "; ")
  }

  private static func sources(_ directive: String, _ texts: [String]) -> String {
    texts.reduce(directive) { $0 + " 'sha256-\(Data(SHA256.hash(data: Data($1.utf8))).base64EncodedString())'" }
  }
}
