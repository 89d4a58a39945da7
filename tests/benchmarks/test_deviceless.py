import pytest

from benchmarks.deviceless import Kernel, kernels

PROGRAM = """HloModule jit_step, is_scheduled=true

%fused_computation (param_0: f32[4,8]) -> bf16[4,8] {
  %param_0 = f32[4,8]{1,0} parameter(0)
  ROOT %convert.1 = bf16[4,8]{1,0} convert(%param_0)
}

ENTRY %main.5 (images: bf16[2,6,6,3], scale: f32[4,8]) -> (bf16[4,8], bf16[2,4,4,5]) {
  %images = bf16[2,6,6,3]{3,2,1,0} parameter(0)
  %kernel = bf16[5,3,3,3]{3,2,1,0} constant({...})
  %scale = f32[4,8]{1,0} parameter(1)
  %loop_convert_fusion = bf16[4,8]{1,0} fusion(%scale), calls=%fused_computation, metadata={op_name="jit(step)/convert"}
  %cudnn-conv.1 = (bf16[2,4,4,5]{3,2,1,0}, s8[4096]{0}) custom-call(%images, %kernel), custom_call_target="__cudnn$conv"
  %get-tuple-element.2 = bf16[2,4,4,5]{3,2,1,0} get-tuple-element(%cudnn-conv.1), index=0
  ROOT %tuple.3 = (bf16[4,8]{1,0}, bf16[2,4,4,5]{3,2,1,0}) tuple(%loop_convert_fusion, %get-tuple-element.2)
}
"""


def test_kernels_of_a_program_are_counted_with_what_they_read_and_write_but_not_the_workspace():
    convert = 4 * 8 * (4 + 2)
    convolution = 2 * (2 * 6 * 6 * 3 + 5 * 3 * 3 * 3 + 2 * 4 * 4 * 5)
    assert kernels(PROGRAM) == [
        Kernel("loop_convert_fusion", "fusion", convert, "jit(step)/convert"),
        Kernel("cudnn-conv.1", "__cudnn$conv", convolution),
    ]


BRANCHES = """HloModule jit_step, is_scheduled=true

%small (a: (f32[4])) -> (f32[4]) {
  %a = (f32[4]{0}) parameter(0)
  %part = f32[4]{0} get-tuple-element(%a), index=0
  %copy.1 = f32[4]{0} copy(%part)
  ROOT %tuple.1 = (f32[4]{0}) tuple(%copy.1)
}

%large (b: (f32[4])) -> (f32[4]) {
  %b = (f32[4]{0}) parameter(0)
  %part.2 = f32[4]{0} get-tuple-element(%b), index=0
  %sine = f32[4]{0} sine(%part.2)
  %cosine = f32[4]{0} cosine(%sine)
  ROOT %tuple.2 = (f32[4]{0}) tuple(%cosine)
}

%body (c: (f32[4])) -> (f32[4]) {
  %c = (f32[4]{0}) parameter(0)
  %part.3 = f32[4]{0} get-tuple-element(%c), index=0
  %tanh = f32[4]{0} tanh(%part.3)
  ROOT %tuple.3 = (f32[4]{0}) tuple(%tanh)
}

%goes_on (d: (f32[4])) -> pred[] {
  %d = (f32[4]{0}) parameter(0)
  ROOT %yes = pred[] constant(true)
}

ENTRY %main (coin: pred[], values: f32[4]) -> (f32[4]) {
  %coin = pred[] parameter(0)
  %values = f32[4]{0} parameter(1)
  %tuple.4 = (f32[4]{0}) tuple(%values)
  %branch = (f32[4]{0}) conditional(%coin, %tuple.4, %tuple.4), SIDES
  ROOT %loop = (f32[4]{0}) while(%branch), condition=%goes_on, body=%body, backend_config={"known_trip_count":{"n":"3"}}
}
"""


@pytest.mark.parametrize(
    "sides", ["true_computation=%large, false_computation=%small", "branch_computations={%small, %large}"]
)
def test_the_side_of_a_branch_that_moves_most_counts_and_a_loop_as_often_as_it_runs(sides):
    found = kernels(BRANCHES.replace("SIDES", sides))
    assert [kernel.name for kernel in found] == ["sine", "cosine", "tanh", "tanh", "tanh"]
    assert all(kernel.moved == 2 * 4 * 4 for kernel in found)


def test_kernels_inside_of_cuda_graphs_are_counted_and_their_call_is_not():
    text = """HloModule step

%command_buffer (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  ROOT %inner = f32[8]{0} fusion(%p), kind=kLoop, calls=%computation
}

ENTRY %main (argument: f32[8]) -> f32[8] {
  %argument = f32[8]{0} parameter(0)
  %call = f32[8]{0} call(%argument), to_apply=%command_buffer
  ROOT %outer = f32[8]{0} fusion(%call), kind=kLoop, calls=%computation
}
"""
    assert [(kernel.name, kernel.moved) for kernel in kernels(text)] == [("inner", 64), ("outer", 64)]
