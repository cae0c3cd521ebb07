// The first row of what a workgroup of the matmul family works on: a sample, by what z means there. $THREAD is 0 for one invocation.
//#if BRANCHES
if (group.z >= control[p.work]) { return; }
region_count($THREAD, p.counter);
let open = control[p.work + 1u + group.z];
branch = open % $BRANCHESu;
var dilations = array<u32, $BRANCHES>($DILATIONS);
dilation = dilations[branch];
let first = open / $BRANCHESu * p.rows;
//#else
//#if REGION
if (!region_is_open(group.z)) { return; }
region_count($THREAD, p.counter);
let first = region_sample(group.z) * p.rows;
//#else
let first = 0u;
//#end
//#end
