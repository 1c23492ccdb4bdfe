# shellcheck shell=bash
# The servers of the distributed engines, which their tests start.
# find_redis: a Redis or Valkey server in FRESHET_REDIS; or in REDIS_PROBLEM why there is none.
# find_kafka: Java, and the folder with Kafka's jars in FRESHET_KAFKA; or in KAFKA_PROBLEM why there is none.
# find_etcd: etcd's server in FRESHET_ETCD; or in ETCD_PROBLEM why there is none.
# find_zookeeper: Java, and the class path with ZooKeeper's jars in FRESHET_ZOOKEEPER; or in ZOOKEEPER_PROBLEM why there is none.
# find_pubsub_emulator: Java, and Google's emulator in FRESHET_PUBSUB_EMULATOR; or in PUBSUB_PROBLEM why there is none.
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
  # A program: setup.sh has a function of that name.
  export FRESHET_ETCD=${FRESHET_ETCD:-$(type -P etcd || true)}
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

# Google's emulator of Cloud Pub/Sub is a part of its command-line tools. Nobody else gives it out.
find_pubsub_emulator() {
  local sdk jar
  PUBSUB_PROBLEM=
  if ! have_java; then
    PUBSUB_PROBLEM="found no Java 17 or later"
    return 1
  fi
  if [ -n "${FRESHET_PUBSUB_EMULATOR:-}" ]; then
    export FRESHET_PUBSUB_EMULATOR
    [ -e "$FRESHET_PUBSUB_EMULATOR" ] && return 0
    PUBSUB_PROBLEM="FRESHET_PUBSUB_EMULATOR names $FRESHET_PUBSUB_EMULATOR, which is not there"
    return 1
  fi
  while IFS= read -r sdk; do
    for jar in "$sdk"/platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar; do
      if [ -e "$jar" ]; then
        export FRESHET_PUBSUB_EMULATOR=$jar
        return 0
      fi
    done
  done < <(google_cloud_sdks)
  PUBSUB_PROBLEM="found no emulator of Google Cloud Pub/Sub"
  return 1
}

# The folders in which Google's tools may be: of packages, of its own installer, and what they themselves say, which takes a while.
google_cloud_sdks() {
  printf '%s\n' /usr/lib/google-cloud-sdk /usr/share/google-cloud-sdk "$HOME/google-cloud-sdk" \
    /opt/homebrew/share/google-cloud-sdk /usr/local/share/google-cloud-sdk
  if have gcloud; then gcloud info --format='value(installation.sdk_root)' 2>/dev/null || true; fi
}
