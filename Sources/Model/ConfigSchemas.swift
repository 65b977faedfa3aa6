/// JSON Schemas of the built-in config types, written from client spec 9. They accept and refuse what upstream's do.
enum ConfigSchemas {
  static let tunnelerClient = """
    {"type": "object", "additionalProperties": false, "required": ["hostname", "port"],
     "properties": {"hostname": {"type": "string"}, "port": {"type": "integer", "minimum": 0, "maximum": 65535}}}
    """

  static let tunnelerServer = """
    {"type": "object", "additionalProperties": false, "required": ["hostname", "port"],
     "definitions": {\(healthDefinitions)},
     "properties": {
       "hostname": {"type": "string"}, "port": {"type": "integer", "minimum": 0, "maximum": 65535},
       "protocol": {"type": ["string", "null"], "enum": ["tcp", "udp"]}, \(healthProperties)}}
    """

  static let intercept = """
    {"type": "object", "additionalProperties": false, "required": ["protocols", "addresses", "portRanges"],
     "definitions": {\(addressDefinitions)},
     "properties": {
       "protocols": \(inhabited("protocolName")), "addresses": \(inhabited("listenAddress")), "portRanges": \(inhabited("portRange")),
       "dialOptions": {"type": "object", "additionalProperties": false, "properties": {
         "identity": {"type": "string"}, "connectTimeoutSeconds": {"$ref": "#/definitions/timeoutSeconds"}}},
       "sourceIp": {"type": "string"}, "allowedSourceAddresses": \(inhabited("listenAddress"))}}
    """

  static let hostV1 = """
    {"type": "object", "additionalProperties": false, "definitions": {\(addressDefinitions), \(hostDefinitions), \(healthDefinitions)},
     "allOf": \(hostConditions), "properties": {\(hostProperties)}}
    """

  static let hostV2 = """
    {"type": "object", "additionalProperties": false, "required": ["terminators"],
     "definitions": {\(addressDefinitions), \(hostDefinitions), \(healthDefinitions),
       "terminator": {"type": "object", "additionalProperties": false, "allOf": \(hostConditions), "properties": {\(hostProperties)}}},
     "properties": {"terminators": {"type": "array", "minItems": 1, "items": {"$ref": "#/definitions/terminator"}}}}
    """

  static let interfaces = """
    {"type": "object", "additionalProperties": false, "required": ["interfaces"],
     "properties": {"interfaces": {"type": "array", "items": {"type": "string"}}}}
    """

  static let proxy = """
    {"type": "object", "additionalProperties": false, "required": ["port", "protocols"],
     "properties": {"port": {"type": "number", "minimum": 1, "maximum": 65535}, "binding": {"type": "string"},
       "protocols": {"type": "array", "minItems": 1, "items": {"type": "string", "enum": ["tcp", "udp"]}}}}
    """

  static let routerLink = """
    {"type": "object", "additionalProperties": false,
     "definitions": {
       "duration": {"type": "string", "pattern": "^([0-9]+(\\\\.[0-9]+)?(ns|us|\u{b5}s|ms|s|m|h))+$"},
       "groups": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
       "backoff": {"type": "object", "additionalProperties": false, "properties": {
         "minRetryInterval": {"$ref": "#/definitions/duration"}, "maxRetryInterval": {"$ref": "#/definitions/duration"},
         "retryBackoffFactor": {"type": "number", "minimum": 1, "maximum": 100}}},
       "options": {"type": "object", "additionalProperties": false, "properties": {
         "outQueueSize": {"type": "integer", "minimum": 0}, "maxQueuedConnects": {"type": "integer", "minimum": 0, "maximum": 5000},
         "maxOutstandingConnects": {"type": "integer", "minimum": 1, "maximum": 1000}, "connectTimeout": {"$ref": "#/definitions/duration"},
         "writeTimeout": {"$ref": "#/definitions/duration"}}},
       "listener": {"type": "object", "additionalProperties": false, "required": ["bind"], "properties": {
         "binding": {"type": "string", "minLength": 1, "default": "transport"}, "bind": {"type": "string", "minLength": 1},
         "advertise": {"type": "string"}, "bindInterface": {"type": "string"}, "groups": {"$ref": "#/definitions/groups"},
         "options": {"$ref": "#/definitions/options"}}},
       "dialer": {"type": "object", "additionalProperties": false, "properties": {
         "binding": {"type": "string", "minLength": 1, "default": "transport"}, "bindInterface": {"type": "string"},
         "groups": {"$ref": "#/definitions/groups"}, "options": {"$ref": "#/definitions/options"},
         "maxDefaultConnections": {"type": "integer", "minimum": 1, "maximum": 100},
         "maxAckConnections": {"type": "integer", "minimum": 0, "maximum": 100}, "startupDelay": {"$ref": "#/definitions/duration"},
         "healthyDialBackoff": {"$ref": "#/definitions/backoff"}, "unhealthyDialBackoff": {"$ref": "#/definitions/backoff"}}}},
     "properties": {
       "listeners": {"type": "array", "items": {"$ref": "#/definitions/listener"}},
       "dialers": {"type": "array", "items": {"$ref": "#/definitions/dialer"}},
       "heartbeats": {"type": "object", "additionalProperties": false, "properties": {
         "sendInterval": {"$ref": "#/definitions/duration"}, "checkInterval": {"$ref": "#/definitions/duration"},
         "closeUnresponsiveTimeout": {"$ref": "#/definitions/duration"}}},
       "payloadSenderQueueSize": {"type": "integer", "minimum": 1}, "ackSenderQueueSize": {"type": "integer", "minimum": 1},
       "gcMode": {"type": "string", "enum": ["preserve", "orphaned", "changed"], "default": "preserve"}}}
    """

  // MARK: shared pieces

  private static func inhabited(_ element: String) -> String {
    "{\"type\": \"array\", \"minItems\": 1, \"uniqueItems\": true, \"items\": {\"$ref\": \"#/definitions/\(element)\"}}"
  }

  private static let addressDefinitions = """
    "protocolName": {"type": "string", "enum": ["tcp", "udp"]},
    "portNumber": {"type": "integer", "minimum": 0, "maximum": 65535},
    "portRange": {"type": "object", "additionalProperties": false, "required": ["low", "high"],
      "properties": {"low": {"$ref": "#/definitions/portNumber"}, "high": {"$ref": "#/definitions/portNumber"}}},
    "listenAddress": {"type": "string", "format": "idn-hostname", "not": {"pattern": "^$"}},
    "timeoutSeconds": {"type": "integer", "minimum": 0, "maximum": 2147483647}
    """

  private static let hostDefinitions = """
    "dialAddress": {"type": "string", "format": "idn-hostname", "not": {"pattern": "^$"}},
    "addressTranslation": {"oneOf": [
      {"type": "object", "additionalProperties": false, "properties": {
        "from": {"type": "string", "pattern": "^[0-9.]+$"}, "to": {"type": "string", "pattern": "^[0-9.]+$"},
        "prefixLength": {"type": "integer", "minimum": 0, "maximum": 32}}},
      {"type": "object", "additionalProperties": false, "properties": {
        "from": {"type": "string", "pattern": ":"}, "to": {"type": "string", "pattern": ":"},
        "prefixLength": {"type": "integer", "minimum": 0, "maximum": 128}}}]},
    "listenOptions": {"type": "object", "additionalProperties": false, "properties": {
      "connectTimeout": {"$ref": "#/definitions/duration"}, "connectTimeoutSeconds": {"$ref": "#/definitions/timeoutSeconds"},
      "maxConnections": {"type": "integer", "minimum": 1}, "identity": {"type": "string"}, "bindUsingEdgeIdentity": {"type": "boolean"},
      "cost": {"type": "integer", "minimum": 0, "maximum": 65535}, "precedence": {"type": "string", "enum": ["default", "required", "failed"]}}},
    "proxy": {"type": "object", "required": ["type", "address"],
      "properties": {"type": {"type": "string", "enum": ["http"]}, "address": {"type": "string"}}}
    """

  /// Each of protocol, address and port is either fixed or forwarded within an allowed set.
  private static let hostConditions = """
    [{"if": {"required": ["forwardProtocol"], "properties": {"forwardProtocol": {"const": true}}},
      "then": {"required": ["allowedProtocols"]}, "else": {"required": ["protocol"]}},
     {"if": {"required": ["forwardAddress"], "properties": {"forwardAddress": {"const": true}}},
      "then": {"required": ["allowedAddresses"]}, "else": {"required": ["address"]}},
     {"if": {"required": ["forwardPort"], "properties": {"forwardPort": {"const": true}}},
      "then": {"required": ["allowedPortRanges"]}, "else": {"required": ["port"]}}]
    """

  private static let hostProperties = """
    "protocol": {"$ref": "#/definitions/protocolName"}, "address": {"$ref": "#/definitions/dialAddress"},
    "port": {"$ref": "#/definitions/portNumber"},
    "forwardProtocol": {"type": "boolean", "enum": [true]}, "forwardAddress": {"type": "boolean", "enum": [true]},
    "forwardPort": {"type": "boolean", "enum": [true]},
    "allowedProtocols": \(inhabited("protocolName")), "allowedAddresses": \(inhabited("listenAddress")),
    "allowedPortRanges": \(inhabited("portRange")), "allowedSourceAddresses": \(inhabited("listenAddress")),
    "forwardAddressTranslations": \(inhabited("addressTranslation")),
    "listenOptions": {"$ref": "#/definitions/listenOptions"}, "proxy": {"$ref": "#/definitions/proxy"}, \(healthProperties)
    """

  private static let healthDefinitions = """
    "duration": {"type": "string", "pattern": "[0-9]+(h|m|s|ms)"},
    "action": {"type": "object", "additionalProperties": false, "required": ["trigger", "action"], "properties": {
      "trigger": {"type": "string", "enum": ["fail", "pass", "change"]}, "duration": {"$ref": "#/definitions/duration"},
      "consecutiveEvents": {"type": "integer", "minimum": 0, "maximum": 65535},
      "action": {"type": "string", "pattern": "(mark (un)?healthy|increase cost [0-9]+|decrease cost [0-9]+|send event)"}}},
    "actions": {"type": "array", "minItems": 1, "maxItems": 20, "items": {"$ref": "#/definitions/action"}},
    "portCheck": {"type": "object", "additionalProperties": false, "required": ["interval", "timeout", "address"], "properties": {
      "address": {"type": "string"}, "interval": {"$ref": "#/definitions/duration"}, "timeout": {"$ref": "#/definitions/duration"},
      "actions": {"$ref": "#/definitions/actions"}}},
    "httpCheck": {"type": "object", "additionalProperties": false, "required": ["interval", "timeout", "url"], "properties": {
      "url": {"type": "string"}, "method": {"type": "string", "enum": ["GET", "POST", "PUT", "PATCH"]}, "body": {"type": "string"},
      "interval": {"$ref": "#/definitions/duration"}, "timeout": {"$ref": "#/definitions/duration"},
      "expectStatus": {"type": "integer", "minimum": 100, "maximum": 599}, "expectInBody": {"type": "string"},
      "actions": {"$ref": "#/definitions/actions"}}}
    """

  private static let healthProperties = """
    "portChecks": {"type": "array", "items": {"$ref": "#/definitions/portCheck"}},
    "httpChecks": {"type": "array", "items": {"$ref": "#/definitions/httpCheck"}}
    """
}
