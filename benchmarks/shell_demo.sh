#!/bin/bash
# Two machines on a switch, as one would write it by hand with `ip`.
#
#   left (10.0.1.1) --- br0 --- (10.0.0.1) right
#
# usage: shell_demo.sh up|down

set -eu

up() {
    ip netns add left
    ip netns add right
    ip -n left link set lo up
    ip -n right link set lo up

    ip link add left_outer type veth peer name left_inner
    ip link add right_outer type veth peer name right_inner
    ip link set left_inner netns left
    ip link set right_inner netns right
    ip link set left_outer up
    ip link set right_outer up
    ip -n left link set left_inner up
    ip -n right link set right_inner up

    ip link add br0 type bridge
    ip link set br0 up
    ip link set left_outer master br0
    ip link set right_outer master br0

    ip -n left address add 10.0.1.1/24 dev left_inner
    ip -n right address add 10.0.0.1/24 dev right_inner
    ip -n left route add 10.0.0.0/24 dev left_inner
    ip -n right route add 10.0.1.0/24 dev right_inner
}

down() {
    ip netns delete right
    ip netns delete left
    ip link delete br0
    # A deleted namespace takes its cables with it, but some time later, and until
    # then their names are taken: without this the next `up` fails now and then.
    ip link delete left_outer 2>/dev/null || true
    ip link delete right_outer 2>/dev/null || true
}

case "${1:-}" in
    up) up ;;
    down) down ;;
    *) echo "usage: $0 up|down" >&2; exit 2 ;;
esac
