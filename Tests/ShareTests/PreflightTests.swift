import NIOHTTP1
import Testing

@testable import ShareFrontend

/// What passes a share's gate unasked.
@Suite("Questions of browsers ahead of a request")
struct PreflightTests {
  @Test("only a question without a body and without a wish for another protocol is one")
  func questions() {
    let asking = [("origin", "https://a.example"), ("access-control-request-method", "PUT")]
    func isOne(_ method: HTTPMethod, _ fields: [(String, String)]) -> Bool {
      PublicFrontend.isPreflight(
        HTTPRequestHead(version: .http1_1, method: method, uri: "/", headers: HTTPHeaders(fields)))
    }
    #expect(isOne(.OPTIONS, asking))
    #expect(!isOne(.GET, asking) && !isOne(.OPTIONS, [asking[0]]) && !isOne(.OPTIONS, [asking[1]]))
    for more in [("content-length", "1"), ("transfer-encoding", "chunked"), ("upgrade", "websocket")] {
      #expect(!isOne(.OPTIONS, asking + [more]), "\(more)")
    }
  }
}
