import NIOCore
import NIOHTTP1

// DELETE, MKCOL, COPY and MOVE.

extension WebDAVSite {
  func delete(_ request: Request) throws -> WebPage {
    guard !request.path.isEmpty else { throw Self.refuse(.forbidden, "The drive itself cannot be deleted.") }
    let place = try? request.root.place(request.path)
    let leftover = try deciding(request) { table in
      guard let place, let status = try place.status() else { throw ConfinedRoot.Failure.notFound }
      try depth(request, of: status)
      try table.check(request.path, .removal, request.tokens)
      let leftover = try ConfinedRoot.remove(place)
      table.forget(from: request.path)
      return leftover
    }
    try leftover?.discard()
    return WebPage(status: .noContent)
  }

  /// A directory is deleted and moved with everything in it (RFC 4918, 9.6.1 and 9.9.2).
  private func depth(_ request: Request, of status: ConfinedRoot.Status) throws {
    guard !status.isDirectory || request.depth == nil || request.depth == "infinity" else {
      throw Self.refuse(.badRequest, "The depth can only be infinity.")
    }
  }

  func makeCollection(_ request: Request, _ body: ByteBuffer) throws -> WebPage {
    guard body.readableBytes == 0 else {
      throw Self.refuse(.unsupportedMediaType, "A directory is made without a body.")
    }
    guard !request.path.isEmpty else { throw Self.refuse(.methodNotAllowed, "It exists.") }
    let place = try newPlace(request.path, on: request.root)
    try deciding(request) { table in
      guard try place.status() == nil else { throw Self.refuse(.methodNotAllowed, "It exists.") }
      guard !place.name.isTrap else {
        throw Self.refuse(.forbidden, "On some systems this name would lead out of the drive.")
      }
      try table.check(request.path, .addition, request.tokens)
      try ConfinedRoot.makeDirectory(place)
    }
    return WebPage(status: .created)
  }

  func transfer(_ request: Request) throws -> WebPage {
    let (source, target) = (request.path, try destination(request))
    guard !source.isEmpty, !target.isEmpty else { throw Self.refuse(.forbidden, "The drive itself stays where it is.") }
    guard !target.starts(with: source) else { throw Self.refuse(.forbidden, "A directory cannot go into itself.") }
    guard !source.starts(with: target) else {
      throw Self.refuse(.forbidden, "It would replace the directory it is in.")
    }
    return try request.head.method == .MOVE ? move(request, to: target) : copy(request, to: target)
  }

  private func move(_ request: Request, to target: FilePath) throws -> WebPage {
    let from = try request.root.place(request.path)
    let to = try newPlace(target, on: request.root)
    let (isNew, leftover) = try deciding(request) { table in
      guard let status = try from.status() else { throw ConfinedRoot.Failure.notFound }
      try depth(request, of: status)
      try table.check(request.path, .removal, request.tokens)
      let isNew = try judgeTarget(request, target, to, table)
      let leftover = try ConfinedRoot.move(from, to: to)
      // A lock stays with its place, and ends with what was there (RFC 4918, 7.5 and 9.9).
      table.forget(from: request.path)
      if !isNew { table.forget(from: target) }
      return (isNew, leftover)
    }
    // The change is done, whatever becomes of what was there.
    try? leftover?.discard()
    return WebPage(status: isNew ? .created : .noContent)
  }

  private func copy(_ request: Request, to target: FilePath) throws -> WebPage {
    guard request.depth == nil || request.depth == "0" || request.depth == "infinity" else {
      throw Self.refuse(.badRequest, "The depth can be 0 or infinity.")
    }
    let source = try request.root.openPlain(request.path)
    let to = try newPlace(target, on: request.root)
    _ = try deciding(request) { try judgeTarget(request, target, to, $0) }
    let made = try ConfinedRoot.copy(source, beside: to, deep: request.depth != "0")
    do {
      let (isNew, leftover) = try deciding(request) { table in
        let isNew = try judgeTarget(request, target, to, table)
        let leftover = try ConfinedRoot.move(made, to: to)
        if !isNew { table.forget(from: target) }
        return (isNew, leftover)
      }
      try? leftover?.discard()
      return WebPage(status: isNew ? .created : .noContent)
    } catch {
      ConfinedRoot.abandon(made)
      throw error
    }
  }

  /// - Returns: whether nothing is at the destination.
  private func judgeTarget(_ request: Request, _ target: FilePath, _ place: ConfinedRoot.Place, _ table: LockTable)
    throws -> Bool
  {
    let isNew = try place.status() == nil
    if !isNew, request.head.headers.first(name: "overwrite")?.trimmed.uppercased() == "F" {
      throw Self.refuse(.preconditionFailed, "The destination exists.")
    }
    if isNew, place.name.isTrap {
      throw Self.refuse(.forbidden, "On some systems this name would lead out of the drive.")
    }
    try table.check(target, isNew ? .addition : .replacement, request.tokens)
    return isNew
  }

  /// Only a place on this drive.
  private func destination(_ request: Request) throws -> FilePath {
    guard let text = request.head.headers.first(name: "destination") else {
      throw Self.refuse(.badRequest, "The destination is missing.")
    }
    guard text.hasPrefix("/") || ["http://", "https://"].contains(where: { text.lowercased().hasPrefix($0) }) else {
      throw Self.refuse(.badRequest, "The destination is no address.")
    }
    guard let path = try request.local(text) else {
      throw Self.refuse(.badGateway, "The destination is on another server.")
    }
    return path
  }
}
