# shellcheck shell=bash
# The servers of the distributed engines, which their tests start.
# find_redis: a Redis or Valkey server in FRESHET_REDIS; or in REDIS_PROBLEM why there is none.
# find_kafka: Java, and the folder with Kafka's jars in FRESHET_KAFKA; or in KAFKA_PROBLEM why there is none.
# find_etcd: etcd's server in FRESHET_ETCD; or in ETCD_PROBLEM why there is none.
# find_zookeeper: Java, and the class path with ZooKeeper's jars in FRESHET_ZOOKEEPER; or in ZOOKEEPER_PROBLEM why there is none.
# shellcheck disable=SC2034 # read where this is sourced

KAFKA_VERSION=4.2.1
export FRESHET_KAFKA=${FRESHET_KAFKA:-$FRESHET_CACHE/tools/kafka-$KAFKA_VERSION}

# 'openjdk version "17.0.15" 2025-04-15' -> 17
java_version() { java -version 2>&1 | sed -n 's/^[^"]*version "\([0-9]*\).*/\1/p' | head -n 1; }

# have_java: Kafka 4 needs 17 or later.
have_java() {
  local version
  version=$(java_version)
  [ -n "$version" ] && [ "$version" -ge 17 ]
}

find_kafka() {
  KAFKA_PROBLEM=
  if ! have_java; then
    KAFKA_PROBLEM="found no Java 17 or later"
  elif ! ls "$FRESHET_KAFKA"/kafka_2.13-*.jar >/dev/null 2>&1; then
    KAFKA_PROBLEM="found no Kafka in $FRESHET_KAFKA"
  else
    return 0
  fi
  return 1
}

export FRESHET_REDIS=${FRESHET_REDIS:-}

find_redis() {
  local name
  REDIS_PROBLEM=
  for name in $FRESHET_REDIS redis-server valkey-server; do
    if command -v "$name" >/dev/null 2>&1; then
      FRESHET_REDIS=$(command -v "$name")
      return 0
    fi
  done
  REDIS_PROBLEM="found no redis-server and no valkey-server"
  return 1
}

find_etcd() {
  ETCD_PROBLEM=
  export FRESHET_ETCD=${FRESHET_ETCD:-$(command -v etcd || true)}
  [ -n "$FRESHET_ETCD" ] && return 0
  ETCD_PROBLEM="found no etcd on PATH, and FRESHET_ETCD names none"
  return 1
}

# Where Debian's package puts what the server needs; its jar names the others.
ZOOKEEPER_JARS=/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-log4j12.jar:/usr/share/java/log4j-1.2.jar

find_zookeeper() {
  ZOOKEEPER_PROBLEM=
  export FRESHET_ZOOKEEPER=${FRESHET_ZOOKEEPER:-}
  if ! have java; then
    ZOOKEEPER_PROBLEM="found no Java"
  elif [ -n "$FRESHET_ZOOKEEPER" ]; then
    return 0
  elif [ -f "${ZOOKEEPER_JARS%%:*}" ]; then
    FRESHET_ZOOKEEPER=$ZOOKEEPER_JARS
    return 0
  else
    ZOOKEEPER_PROBLEM="found no ZooKeeper in /usr/share/java, and FRESHET_ZOOKEEPER names no class path"
  fi
  return 1
}
