/**
 * `ovs-appctl dpctl/dump-conntrack -s` of Open vSwitch 3.5 (userspace) on two hosts: a1 (10.0.1.11, floating address 203.0.113.11, zone 4) and
 * a2 (10.0.1.12, zone 12) on host east with their router (zone 8); b1 (10.0.2.11, member of VIP 203.0.113.50:80, zone 4) and a client
 * outside (203.0.113.101, zone 12) on host west. SNAT address: 203.0.113.2.
 */
export const EAST = `\
tcp,orig=(src=203.0.113.2,dst=10.0.1.11,sport=1196,dport=80),reply=(src=10.0.1.11,dst=203.0.113.2,sport=80,dport=1196),zone=4,timeout=29,mark=4,protoinfo=(state=TIME_WAIT)
tcp,orig=(src=10.0.1.11,dst=10.0.2.11,sport=52288,dport=9),reply=(src=10.0.2.11,dst=10.0.1.11,sport=9,dport=52288),zone=4,timeout=29,mark=4,protoinfo=(state=TIME_WAIT)
tcp,orig=(src=203.0.113.101,dst=10.0.1.11,sport=52278,dport=80),reply=(src=10.0.1.11,dst=203.0.113.101,sport=80,dport=52278),zone=4,timeout=86399,mark=4,protoinfo=(state=ESTABLISHED)
tcp,orig=(src=203.0.113.101,dst=203.0.113.11,sport=52278,dport=80),reply=(src=10.0.1.11,dst=203.0.113.101,sport=80,dport=52278),zone=8,timeout=86399,protoinfo=(state=ESTABLISHED)
udp,orig=(src=10.0.1.12,dst=203.0.113.101,sport=46786,dport=53),reply=(src=203.0.113.101,dst=203.0.113.2,sport=53,dport=1138),zone=8,timeout=29
tcp,orig=(src=fd00:1::12,dst=2001:db8:f::101,sport=55122,dport=80),reply=(src=2001:db8:f::101,dst=2001:db8:f::2,sport=80,dport=1167),zone=8,timeout=86399,protoinfo=(state=ESTABLISHED)
tcp,orig=(src=203.0.113.2,dst=203.0.113.11,sport=1196,dport=80),reply=(src=10.0.1.11,dst=203.0.113.2,sport=80,dport=1196),zone=8,timeout=29,protoinfo=(state=TIME_WAIT)
tcp,orig=(src=10.0.1.12,dst=203.0.113.101,sport=52960,dport=80),reply=(src=203.0.113.101,dst=203.0.113.2,sport=80,dport=1386),zone=8,timeout=86399,protoinfo=(state=ESTABLISHED)
tcp,orig=(src=10.0.1.12,dst=203.0.113.11,sport=57884,dport=80),reply=(src=203.0.113.11,dst=203.0.113.2,sport=80,dport=1196),zone=8,timeout=29,protoinfo=(state=TIME_WAIT)
icmp,orig=(src=10.0.1.12,dst=203.0.113.101,id=12523,type=8,code=0),reply=(src=203.0.113.101,dst=203.0.113.2,id=12523,type=0,code=0),zone=8,timeout=29
tcp,orig=(src=fd00:1::12,dst=2001:db8:f::101,sport=55122,dport=80),reply=(src=2001:db8:f::101,dst=fd00:1::12,sport=80,dport=55122),zone=12,timeout=86399,mark=4,protoinfo=(state=ESTABLISHED)
udp,orig=(src=10.0.1.12,dst=203.0.113.101,sport=46786,dport=53),reply=(src=203.0.113.101,dst=10.0.1.12,sport=53,dport=46786),zone=12,timeout=29,mark=4
icmp,orig=(src=10.0.1.12,dst=203.0.113.101,id=12523,type=8,code=0),reply=(src=203.0.113.101,dst=10.0.1.12,id=12523,type=0,code=0),zone=12,timeout=29,mark=4
tcp,orig=(src=10.0.1.12,dst=203.0.113.101,sport=52960,dport=80),reply=(src=203.0.113.101,dst=10.0.1.12,sport=80,dport=52960),zone=12,timeout=86399,mark=4,protoinfo=(state=ESTABLISHED)
tcp,orig=(src=10.0.1.12,dst=10.0.2.11,sport=39922,dport=8080),reply=(src=10.0.2.11,dst=10.0.1.12,sport=8080,dport=39922),zone=12,timeout=86399,mark=5,protoinfo=(state=ESTABLISHED)
tcp,orig=(src=10.0.1.12,dst=203.0.113.11,sport=57884,dport=80),reply=(src=203.0.113.11,dst=10.0.1.12,sport=80,dport=57884),zone=12,timeout=29,mark=4,protoinfo=(state=TIME_WAIT)
tcp,orig=(src=10.0.1.12,dst=203.0.113.50,sport=39922,dport=80),reply=(src=10.0.2.11,dst=10.0.1.12,sport=8080,dport=39922),zone=13,timeout=86399,protoinfo=(state=ESTABLISHED)
`;
export const WEST = `\
tcp,orig=(src=203.0.113.101,dst=10.0.2.11,sport=51838,dport=8080),reply=(src=10.0.2.11,dst=203.0.113.101,sport=8080,dport=51838),zone=4,timeout=86399,mark=6,protoinfo=(state=ESTABLISHED)
tcp,orig=(src=10.0.1.12,dst=10.0.2.11,sport=39922,dport=8080),reply=(src=10.0.2.11,dst=10.0.1.12,sport=8080,dport=39922),zone=4,timeout=86399,mark=4,protoinfo=(state=ESTABLISHED)
tcp,orig=(src=10.0.1.11,dst=10.0.2.11,sport=52288,dport=9),reply=(src=10.0.2.11,dst=10.0.1.11,sport=9,dport=52288),zone=4,timeout=29,mark=4,protoinfo=(state=TIME_WAIT)
tcp,orig=(src=203.0.113.101,dst=203.0.113.50,sport=51838,dport=80),reply=(src=10.0.2.11,dst=203.0.113.101,sport=8080,dport=51838),zone=5,timeout=86399,protoinfo=(state=ESTABLISHED)
tcp,orig=(src=2001:db8:f::2,dst=2001:db8:f::101,sport=1167,dport=80),reply=(src=2001:db8:f::101,dst=2001:db8:f::2,sport=80,dport=1167),zone=12,timeout=86399,mark=4,protoinfo=(state=ESTABLISHED)
udp,orig=(src=203.0.113.2,dst=203.0.113.101,sport=1138,dport=53),reply=(src=203.0.113.101,dst=203.0.113.2,sport=53,dport=1138),zone=12,timeout=29,mark=4
tcp,orig=(src=203.0.113.2,dst=203.0.113.101,sport=1386,dport=80),reply=(src=203.0.113.101,dst=203.0.113.2,sport=80,dport=1386),zone=12,timeout=86399,mark=4,protoinfo=(state=ESTABLISHED)
tcp,orig=(src=203.0.113.101,dst=203.0.113.11,sport=52278,dport=80),reply=(src=203.0.113.11,dst=203.0.113.101,sport=80,dport=52278),zone=12,timeout=86399,mark=4,protoinfo=(state=ESTABLISHED)
tcp,orig=(src=203.0.113.101,dst=203.0.113.50,sport=51838,dport=80),reply=(src=203.0.113.50,dst=203.0.113.101,sport=80,dport=51838),zone=12,timeout=86399,mark=4,protoinfo=(state=ESTABLISHED)
icmp,orig=(src=203.0.113.2,dst=203.0.113.101,id=12523,type=8,code=0),reply=(src=203.0.113.101,dst=203.0.113.2,id=12523,type=0,code=0),zone=12,timeout=29,mark=4
`;
